from __future__ import annotations

import copy

import numpy as np
import pytest

from lungdet.phantom.look_alikes import LOOK_ALIKES, add_look_alikes
from lungdet.phantom.nodules import Nodule
from lungdet.phantom.sites import find_site
from tests.phantom.conftest import Measured


def test_they_keep_away_from_nodules(
    measured: Measured, rng: np.random.Generator
) -> None:
    chest = copy.deepcopy(measured.chest)
    site = find_site(rng, chest, 'anywhere', 4.0, [])
    assert site is not None
    nodule = Nodule(site, 8.0, 'solid', 'anywhere')

    centers = add_look_alikes(rng, chest, [nodule])

    assert 6 <= len(centers) <= 14
    for center in centers:
        assert np.linalg.norm(center - site) >= 4 + 3
        assert chest.value_at(chest.labels, center) in (3, 4)
    np.testing.assert_array_equal(chest.labels, measured.chest.labels)


@pytest.mark.parametrize('kind', LOOK_ALIKES)
def test_each_is_brighter_than_lung_and_stays_near_its_centre(
    measured: Measured, rng: np.random.Generator, kind: str
) -> None:
    chest = copy.deepcopy(measured.chest)
    center = find_site(rng, chest, 'anywhere', 3.0, [])
    assert center is not None
    before = chest.hu.copy()

    LOOK_ALIKES[kind](rng, chest, center)

    changed = np.abs(chest.hu - before) > 1
    assert changed.any()
    away = chest.frame.to_world(np.argwhere(changed)) - center
    assert np.linalg.norm(away, axis=1).max() < 20
    assert chest.hu[changed].max() > -700
