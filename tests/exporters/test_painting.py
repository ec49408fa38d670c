from __future__ import annotations

import numpy as np

from lungdet.exporters.painting import paint_masks, unpainted_caveats
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


def test_no_voxel_of_an_overlap_is_lost_silently() -> None:
    """Each voxel of a mask has a number, and those of another are counted."""
    grid = Geometry.from_parts(
        (4, 4, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    boxes = [
        (0, 0, 0, 2, 2, 3),  # 12 voxels
        (0, 0, 2, 2, 2, 5),  # 12, of which 4 lie in the first
        (1, 0, 1, 2, 2, 4),  # 6, all of them in those two
        (3, 3, 8, 4, 4, 9),  # 1 alone
    ]
    result = SeriesResult('1', [], grid)
    for box in boxes:
        mask = np.ones(np.subtract(box[3:], box[:3]), bool)
        result.detections.append(detection(box, mask))

    labels = paint_masks(result, grid)
    (caveat,) = unpainted_caveats(result, grid)

    union = np.zeros(grid.shape, bool)
    for box in boxes:
        union[box_slices(np.array(box))] = True
    assert ((labels > 0) == union).all()
    assert np.bincount(labels.ravel())[1:].tolist() == [12, 8, 0, 1]
    assert caveat.endswith(
        'it holds 8 of 12 voxels of nodule 2, 0 of 6 voxels of nodule 3'
    )


def test_masks_that_are_whole_have_no_caveat() -> None:
    grid = Geometry.from_parts(
        (1, 1, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    one = np.ones((1, 1, 2), bool)
    result = SeriesResult(
        '1',
        [
            detection((0, 0, 0, 1, 1, 2), one),
            detection((0, 0, 2, 1, 1, 4), one),
            detection((0, 0, 5, 1, 1, 6), None),
        ],
        grid,
    )

    assert unpainted_caveats(result, grid) == []


def test_a_mask_between_the_slices_of_a_scan_has_a_caveat() -> None:
    case = Geometry.from_parts(
        (9, 4, 4), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    scan = Geometry.from_parts(
        (3, 4, 4), spacing_zyx=(4, 1, 1), origin_xyz=(0, 0, 0)
    )
    mask = np.ones((2, 2, 2), bool)
    result = SeriesResult('1', [detection((1, 1, 1, 3, 3, 3), mask)], case)

    (caveat,) = unpainted_caveats(result, scan)

    assert not paint_masks(result, scan).any()
    assert caveat.endswith('it holds 0 of 0 voxels of nodule 1')


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
