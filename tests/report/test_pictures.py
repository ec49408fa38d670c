from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.report.pictures import (
    HALF_VOXELS,
    Picture,
    case_picture,
    detection_picture,
)
from lungdet.structures import Detection
from tests.engine.conftest import write_tiny_store

GRID = Geometry.from_parts(
    (30, 40, 50), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, 6, 7)
)
IMAGE = np.zeros(GRID.shape)


@pytest.mark.parametrize(
    ('side_mm', 'half_mm'), [(8.0, 32.0), (51.2, 32.0), (80.0, 50.0)]
)
def test_a_picture_is_wide_enough_for_its_box(
    side_mm: float, half_mm: float
) -> None:
    (center,) = GRID.to_world([[10, 20, 30]])
    detection = Detection(
        tuple(center.tolist()), 0.5, size_mm=(8.0, side_mm, 4.0)
    )

    picture = detection_picture(IMAGE, GRID, detection)

    assert picture.half_mm == pytest.approx(half_mm)
    assert Picture(IMAGE, GRID, detection.center_mm, '').half_mm == 32.0


def test_a_point_of_a_case_comes_with_the_voxels_around_it(
    tmp_path: Path,
) -> None:
    store = CaseStore(write_tiny_store(tmp_path / 'cases'))
    uid, record = next(iter(store.records.items()))
    whole, nodule = store.read(uid, 'image'), record.nodules[0]

    picture = case_picture(
        store, uid, nodule.center_mm, 'here', diameter_mm=10.0
    )

    assert picture is not None and picture.caption == 'here'
    points = [nodule.center_mm]
    (inside,), (index,) = (
        np.rint(grid.to_index(points)).astype(int)
        for grid in (picture.geometry, record.geometry)
    )
    assert picture.array[tuple(inside)] == whole[tuple(index)]
    assert max(picture.array.shape) <= 2 * HALF_VOXELS
    assert picture.box is not None
    np.testing.assert_allclose(
        (picture.box[3:] - picture.box[:3]) * picture.geometry.spacing, 10.0
    )
    outside = tuple((record.geometry.origin - 5).tolist())
    assert case_picture(store, uid, outside, '') is None
    bare = case_picture(store, uid, nodule.center_mm, '')
    assert bare is not None and bare.box is None
