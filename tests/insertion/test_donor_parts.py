"""Parametric nodules have their sizes; shams are no look-alikes."""

from __future__ import annotations

import numpy as np
import pytest

from lungdet.insertion.donor import Donor
from lungdet.insertion.donor_parts import donor_of_scan, parametric_donor


def test_parametric_nodules_have_their_sizes() -> None:
    for seed, diameter in enumerate((3.5, 6.0, 12.0, 28.0)):
        donor = parametric_donor(seed, diameter, 'vessel')

        assert donor.diameter_mm == pytest.approx(diameter, rel=0.2)
        assert donor.level[[0, -1]].max() < 0.5  # nothing is cut off
        again = parametric_donor(seed, diameter, 'vessel')
        assert (again.tissue == donor.tissue).all()


AIR = np.full((40, 40, 40), -870.0)
Z, Y, X = np.indices(AIR.shape) - 20
MIDDLE, SPACING, RADIUS = (20, 20, 20), np.ones(3), 7.0


def image_with(inside: np.ndarray) -> np.ndarray:
    image = AIR.copy()
    image[inside] = 0
    return image


def test_pieces_that_look_like_nodules_are_no_shams() -> None:
    tube = image_with(Y**2 + X**2 <= 1)
    thick = image_with(Y**2 + X**2 <= 3**2)
    ball = image_with(Z**2 + Y**2 + X**2 <= 5**2)

    def piece(image: np.ndarray, site: str) -> Donor | None:
        return donor_of_scan(image, SPACING, MIDDLE, RADIUS, site)

    assert piece(tube, 'vessel')
    assert piece(thick, 'vessel') is None
    assert piece(ball, 'vessel') is None
    assert piece(AIR, 'parenchyma')
    assert piece(tube, 'parenchyma') is None
    assert piece(AIR, 'pleura') is None


@pytest.mark.parametrize('site', ['vessel', 'pleura'])
def test_a_piece_of_tissue_has_no_cut_end(site: str) -> None:
    tube = image_with(Y**2 + X**2 <= 1)
    wall = image_with(Y >= 0)
    image = tube if site == 'vessel' else wall

    piece = donor_of_scan(image, SPACING, MIDDLE, RADIUS, site)

    assert piece is not None
    inside = piece.level > 0.5
    middle = len(inside) // 2
    away = np.abs(np.arange(len(inside)) - middle)
    thickness = inside.sum((1, 2))
    assert thickness[middle] == thickness.max() > 0
    assert thickness[away >= RADIUS - 1].max() == 0  # it ends inside the ball
    assert (np.diff(thickness[middle:]) <= 0).all()


def test_a_piece_is_centred_on_its_voxel() -> None:
    piece = donor_of_scan(AIR, SPACING, MIDDLE, RADIUS, 'parenchyma')

    assert piece is not None
    assert piece.center == pytest.approx((np.array(piece.level.shape) - 1) / 2)
