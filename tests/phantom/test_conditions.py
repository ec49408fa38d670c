"""Unusual chests, and what a lung finder makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.geometry import resample_nearest
from lungdet.phantom import make_phantom
from lungdet.phantom.conditions import CONDITIONS
from lungdet.prepare import find_lungs

FALLBACKS = {'one_lung': 'of lung', 'consolidation': 'without air'}


@pytest.mark.parametrize('name', CONDITIONS)
def test_lungs_of_unusual_chests_are_found_or_doubted(name: str) -> None:
    phantom = make_phantom([1, 0], size='small', conditions=(name,))

    lungs = find_lungs(phantom.volume)

    labels = resample_nearest(
        phantom.lungs, phantom.volume.geometry, lungs.geometry, fill=0
    )
    true = np.isin(labels, (3, 4))
    covered = (lungs.mask & true).sum() / true.sum()
    dice = 2 * (lungs.mask & true).sum() / (lungs.mask.sum() + true.sum())
    if name in FALLBACKS:
        assert any(FALLBACKS[name] in text for text in lungs.caveats)
        if lungs.source == 'failed':
            assert covered > 0.99
        return
    assert lungs.source == 'computed'
    assert dice >= 0.96


@pytest.mark.parametrize('seed', [(0, 1), (0, 6), (1, 9)])
def test_walls_that_an_opening_cuts_are_regrown(seed: tuple[int, int]) -> None:
    phantom = make_phantom(seed, size='small')

    lungs = find_lungs(phantom.volume)

    labels = resample_nearest(
        phantom.lungs, phantom.volume.geometry, lungs.geometry, fill=0
    )
    true = np.isin(labels, (3, 4))
    dice = 2 * (lungs.mask & true).sum() / (lungs.mask.sum() + true.sum())
    assert lungs.source == 'computed' and dice >= 0.96


def test_conditions_change_what_they_name() -> None:
    usual = make_phantom([1, 0], size='small')
    volumes = {
        name: make_phantom([1, 0], size='small', conditions=(name,))
        for name in ('bowel_gas', 'one_lung', 'tight_view', 'arms_down')
    }
    dark = {
        name: (phantom.volume.array < -930).mean()
        for name, phantom in volumes.items()
    }

    assert dark['bowel_gas'] > (usual.volume.array < -930).mean()
    assert not (volumes['one_lung'].lungs == 4).any()
    tight = volumes['tight_view']
    assert tight.volume.array.shape == tight.lungs.shape == tight.masks.shape
    assert tight.volume.array.shape[2] < usual.volume.array.shape[2]
    center = np.array([tight.annotations[0].center_mm])
    index = np.rint(tight.volume.geometry.to_index(center)[0]).astype(int)
    assert tight.masks[tuple(index)] == 1
    assert (volumes['arms_down'].volume.array > -100).sum() > 1.02 * (
        usual.volume.array > -100
    ).sum()


def test_solid_lung_keeps_its_label() -> None:
    phantom = make_phantom([1, 0], size='small', conditions=('consolidation',))

    solid = (phantom.lungs == 4) & (phantom.volume.array > -100)

    assert solid.sum() > 0.3 * (phantom.lungs == 4).sum()


def test_unknown_conditions_are_named() -> None:
    with pytest.raises(ConfigError, match="conditions: 'flu'; choose of"):
        make_phantom(0, conditions=('flu',))
