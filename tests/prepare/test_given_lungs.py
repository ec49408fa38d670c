"""Lung masks that come with a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.prepare.given_lungs import lungs_of_scan
from tests.prepare.scans import SPACING, chest, volume_of


def written(
    path: Path, labels: np.ndarray, origin: tuple[float, float, float]
) -> Path:
    grid = Geometry.from_parts(
        labels.shape, spacing_zyx=SPACING, origin_xyz=origin
    )
    write_image(path, labels.astype(np.uint8), grid)
    return path


def labels_of(hu: np.ndarray) -> np.ndarray:
    labels = np.where(hu == -850, 3, 0)
    labels[..., 55:][labels[..., 55:] > 0] = 4
    return labels


def test_a_mask_of_the_scan_is_used(tmp_path: Path) -> None:
    labels = labels_of(chest())
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 0))

    lungs = lungs_of_scan(path, volume_of(chest()))

    assert lungs.source == 'given' and not lungs.caveats
    np.testing.assert_array_equal(lungs.mask, labels > 0)


def test_without_a_mask_the_lungs_are_found() -> None:
    assert lungs_of_scan(None, volume_of(chest())).source == 'computed'


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_a_mask_shifted_by_60_mm_is_refused(tmp_path: Path, axis: int) -> None:
    origin = [0.0, 0.0, 0.0]
    origin[axis] = 60.0
    x, y, z = origin
    path = written(tmp_path / 'a.mhd', labels_of(chest()), (x, y, z))

    with pytest.raises(AnnotationError, match=r'a\.mhd: .* of another scan'):
        lungs_of_scan(path, volume_of(chest()))


def test_lungs_that_are_not_found_refuse_no_mask(tmp_path: Path) -> None:
    solid = chest()
    solid[solid == -850] = 40
    path = written(tmp_path / 'a.mhd', labels_of(chest()), (0, 0, 0))

    lungs = lungs_of_scan(path, volume_of(solid))

    (caveat,) = lungs.caveats
    assert lungs.source == 'given'
    assert caveat.startswith('only 0% of a.mhd lies where the scan is as dark')


def test_a_mask_outside_the_scan_is_refused(tmp_path: Path) -> None:
    """Though no lungs are found that it could be compared with."""
    labels = labels_of(chest())
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 900))

    with pytest.raises(AnnotationError, match='100% of the mask lies outside'):
        lungs_of_scan(path, volume_of(np.full_like(chest(), 40)))


def test_a_mask_that_leaves_the_scan_is_told(tmp_path: Path) -> None:
    """The scan ends at slice 50 of 70, the lungs at slice 63."""
    labels = labels_of(chest())
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 0))
    outside = (labels[50:] > 0).sum() / (labels > 0).sum()

    lungs = lungs_of_scan(path, volume_of(chest()[:50]))

    assert lungs.source == 'given' and 0.1 < outside < 0.2
    assert f'{outside:.0%} of a.mhd lie outside the scan' in lungs.caveats


def test_lungs_that_are_doubtful_refuse_no_mask(tmp_path: Path) -> None:
    hu = chest()
    base = hu == -850
    base[32:], base[..., :57] = False, False
    hu[base] = 40  # solid lung, or a high diaphragm
    labels = labels_of(chest())
    labels[28:] = 0
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 0))

    lungs = lungs_of_scan(path, volume_of(hu))

    (caveat,) = lungs.caveats
    assert lungs.source == 'given'
    assert 'agree by a Dice of' in caveat
    assert 'or a high diaphragm' in caveat


def test_half_of_the_lungs_is_a_caveat(tmp_path: Path) -> None:
    labels = labels_of(chest())
    labels[:28] = 0
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 0))

    lungs = lungs_of_scan(path, volume_of(chest()))

    (caveat,) = lungs.caveats
    assert lungs.source == 'given' and 'agree by a Dice of' in caveat


@pytest.mark.parametrize('value', [1, 2, 255])
def test_other_labels_are_named(tmp_path: Path, value: int) -> None:
    labels = np.where(chest() == -850, value, 0)
    path = written(tmp_path / 'a.mhd', labels, (0, 0, 0))

    with pytest.raises(AnnotationError, match=f'labels {value};'):
        lungs_of_scan(path, volume_of(chest()))


def test_an_empty_mask_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / 'a.mhd', np.zeros((70, 90, 110)), (0, 0, 0))

    lungs = lungs_of_scan(path, volume_of(chest()))

    assert lungs.source == 'computed'
    assert lungs.caveats == [
        'a.mhd holds no lung; the lungs were found in the scan'
    ]
