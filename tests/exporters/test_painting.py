from __future__ import annotations

import numpy as np

from lungdet.exporters.painting import paint_masks
from lungdet.geometry import Geometry, box_slices
from lungdet.structures import Detection, SeriesResult
from tests.oracles.published_data import paste

TURNED = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
SHAPE = (6, 7, 8)
# best first; the second shares [2, 4) on each axis with the first
BOXES = [(1, 1, 1, 4, 4, 4), (2, 2, 2, 6, 6, 7), (0, 5, 6, 1, 7, 8)]


def test_the_better_mask_stays_where_two_overlap() -> None:
    """Published: the worse one, painted later, overwrites."""
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(2, 1, 0.5), origin_xyz=(5, -3, 9)
    )
    volumes = np.zeros((len(BOXES), *SHAPE), dtype=bool)
    detections = []
    for volume, box in zip(volumes, BOXES):
        volume[box_slices(np.array(box))] = True
        crop = volume[box_slices(np.array(box))]
        detections.append(
            Detection((0, 0, 0), 0.5, mask_box=box, mask=crop.copy())
        )

    painted = paint_masks(SeriesResult('1.1', detections, grid), grid)

    published = paste(volumes)
    assert ((painted > 0) == (published > 0)).all()
    shared = volumes[0] & volumes[1]
    assert shared.sum() == 8
    assert (painted[shared] == 1).all() and (published[shared] == 2).all()
    assert (painted[~shared] == published[~shared]).all()


def detection(box: tuple[int, ...], mask: np.ndarray | None) -> Detection:
    return Detection((0, 0, 0), 0.5, mask_box=box, mask=mask)


def test_masks_are_painted_by_hand() -> None:
    """A grid of twice the spacing, z running down: voxel k of it lies at
    voxel 9 - 2 k of the case along z, at 2 k along y and x."""
    case = Geometry.from_parts(
        (10, 10, 10), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    affine = np.array(
        [[0, 0, 2, 0], [0, 2, 0, 0], [-2, 0, 0, 9], [0, 0, 0, 1]], float
    )
    scan = Geometry((5, 5, 5), affine)
    best = np.ones((3, 2, 2), bool)
    best[0] = False
    result = SeriesResult(
        '1',
        [
            detection((5, 2, 2, 8, 4, 4), best),  # z 6..7, y and x 2..3
            detection((4, 2, 2, 8, 4, 6), np.ones((4, 2, 4), bool)),
            detection((0, 0, 0, 1, 1, 1), None),
            detection((9, 8, 8, 12, 12, 12), np.ones((3, 4, 4), bool)),
        ],
        case,
    )
    wanted = np.zeros((5, 5, 5), np.uint8)
    wanted[1, 1, 1] = 1  # case voxel (7, 2, 2)
    wanted[2, 1, 1] = wanted[2, 1, 2] = wanted[1, 1, 2] = 2
    wanted[0, 4, 4] = 4  # the part inside the scan

    np.testing.assert_array_equal(paint_masks(result, scan), wanted)


def test_masks_on_an_oblique_grid_agree_with_every_voxel_asked() -> None:
    case = Geometry.from_parts(
        (12, 14, 16), spacing_zyx=(1, 1, 1), origin_xyz=(3, -2, 5)
    )
    scan = Geometry.from_parts(
        (9, 20, 22),
        spacing_zyx=(1.71, 0.7, 0.9),
        origin_xyz=(6, -6, 4),
        direction=TURNED,
    )
    mask = np.random.default_rng(0).random((5, 6, 7)) > 0.4
    result = SeriesResult('1', [detection((3, 4, 5, 8, 10, 12), mask)], case)
    full = np.zeros(case.shape, bool)
    full[3:8, 4:10, 5:12] = mask

    painted = paint_masks(result, scan)

    assert painted.any()
    for index in np.ndindex(scan.shape):
        world = scan.to_world(np.array([index], float))
        there = np.rint(case.to_index(world)[0]).astype(int)
        inside = ((there >= 0) & (there < case.shape)).all()
        assert painted[index] == (inside and full[tuple(there)])


def test_every_one_of_many_detections_is_painted() -> None:
    grid = Geometry.from_parts(
        (1, 1, 300), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    one = np.ones((1, 1, 1), bool)
    many = [detection((0, 0, k, 1, 1, k + 1), one) for k in range(300)]

    painted = paint_masks(SeriesResult('1', many, grid), grid)

    assert painted.ravel().tolist() == [*range(1, 301)]
