"""A donor has the nodule's size and tissue, without blur and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungdet.insertion.donor import donor_of_nodule
from tests.io.nodules import ball_nodule


@pytest.mark.parametrize('diameter', [6.0, 9.0, 16.0])
def test_a_ball_keeps_its_diameter_and_tissue(diameter: float) -> None:
    nodule = ball_nodule(
        'a', diameter_mm=diameter, spacing=(1.25, 0.7, 0.7), shape=(23, 50, 50)
    )

    donor = donor_of_nodule(nodule)

    assert donor.diameter_mm == pytest.approx(diameter, rel=0.08)
    inside = donor.level > 0.5
    assert np.median(donor.tissue[inside]) == pytest.approx(40, abs=45)


def test_noise_of_the_donor_is_left_behind(rng: np.random.Generator) -> None:
    clean = ball_nodule('a', diameter_mm=14.0, shape=(13, 50, 50))
    noise = rng.normal(0, 30, clean.hu.shape)
    noisy = replace(clean, hu=(clean.hu + noise).astype(np.int16))

    with_noise, without = donor_of_nodule(noisy), donor_of_nodule(clean)

    inside = without.level > 0.5
    left = (with_noise.tissue - without.tissue)[inside]
    assert left.std() < 30 / 3
    assert with_noise.diameter_mm == pytest.approx(
        without.diameter_mm, rel=0.02
    )


def test_thick_slices_do_not_dim_a_small_nodule() -> None:
    fine = ball_nodule(
        'a', diameter_mm=5.0, spacing=(0.25, 0.7, 0.7), shape=(80, 40, 40)
    )
    thick = replace(
        fine,
        spacing=(2.5, 0.7, 0.7),
        hu=fine.hu.reshape(8, 10, 40, 40).mean(1).astype(np.int16),
        mask=fine.mask.reshape(8, 10, 40, 40).any(1),
    )

    donor = donor_of_nodule(thick)

    inside = donor.level > 0.5
    contrast = (donor.tissue[inside] + 870).sum() * np.prod(donor.spacing)
    assert contrast > 0.92 * (fine.hu + 870.0).sum() * np.prod(fine.spacing)


def test_ground_glass_stays_faint() -> None:
    nodule = ball_nodule(
        'a', diameter_mm=12.0, tissue_hu=-620.0, ratings={'Texture': 1.0}
    )

    donor = donor_of_nodule(nodule)

    assert donor.diameter_mm == pytest.approx(12, rel=0.08)
    inside = donor.level > 0.5
    assert np.median(donor.tissue[inside]) == pytest.approx(-620, abs=25)
