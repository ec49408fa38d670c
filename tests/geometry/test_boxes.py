from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungdet import ops
from lungdet.geometry import (
    Geometry,
    box_iou,
    box_of_mask,
    box_slices,
    clip_boxes,
    corners_to_zyxdhw,
    enclosing_box,
    move_boxes,
    occupied,
    zyxdhw_to_corners,
)

whole_boxes = arrays(np.int64, (6, 6), elements=st.integers(0, 6))


def literal_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Count unit voxels."""

    def voxels(box: np.ndarray) -> set:
        return set(
            itertools.product(*(range(box[k], box[k + 3]) for k in range(3)))
        )

    both, either = voxels(a) & voxels(b), voxels(a) | voxels(b)
    return len(both) / len(either) if either else 0.0


@given(whole_boxes)
def test_iou_counts_voxels(boxes: np.ndarray) -> None:
    boxes = np.concatenate(
        [
            np.minimum(boxes[:, :3], boxes[:, 3:]),
            np.maximum(boxes[:, :3], boxes[:, 3:]),
        ],
        axis=1,
    )
    wanted = [[literal_iou(a, b) for b in boxes] for a in boxes]

    iou = box_iou(boxes.astype(float), boxes.astype(float))
    on_tensors = ops.box_iou(*[torch.tensor(boxes, dtype=torch.float64)] * 2)

    np.testing.assert_allclose(iou, wanted, atol=1e-12)
    np.testing.assert_allclose(on_tensors, wanted, atol=1e-12)


def test_mask_box_crops_what_it_says() -> None:
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[1:3, 2:6, 4] = True

    box = box_of_mask(mask)

    assert box.tolist() == [1, 2, 4, 3, 6, 5]
    assert mask[box_slices(box)].all()
    assert mask[box_slices(box)].sum() == mask.sum()
    assert box_of_mask(~mask & False) is None


def test_range_of_a_mask_along_each_axis() -> None:
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[1, 2, 4] = mask[2, 5, 0] = True

    ranges = [occupied(mask, axis) for axis in range(3)]

    assert ranges == [slice(1, 3), slice(2, 6), slice(0, 5)]
    assert occupied(np.zeros((2, 3, 4), dtype=bool), 1) == slice(0, 0)
    assert box_of_mask(np.zeros((2, 3, 4), dtype=bool)) is None


def test_enclosing_box_is_that_of_the_painted_voxels() -> None:
    boxes = np.array([[1, 5, 2, 3, 6, 4], [0, 2, 3, 2, 3, 9]])
    mask = np.zeros((8, 8, 10), dtype=bool)
    for box in boxes:
        mask[box_slices(box)] = True

    box = enclosing_box(boxes)

    np.testing.assert_array_equal(box, box_of_mask(mask))
    np.testing.assert_array_equal(enclosing_box(boxes[:1]), boxes[0])


def test_center_form_and_clip_hand_worked() -> None:
    box = np.array([[-2.0, 1, 0, 4, 5, 3]])

    assert corners_to_zyxdhw(box).tolist() == [[1, 3, 1.5, 6, 4, 3]]
    assert zyxdhw_to_corners(corners_to_zyxdhw(box)).tolist() == box.tolist()
    assert clip_boxes(box, (3, 9, 2)).tolist() == [[0, 1, 0, 3, 5, 2]]


def surface(box: np.ndarray) -> np.ndarray:
    """Many points (z, y, x) of the ellipsoid that an edge box holds."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 3), -1)
    ball = grid.reshape(-1, 3)
    ball = ball[(np.abs(ball) == 1).any(1)]
    ball = ball / np.linalg.norm(ball, axis=1, keepdims=True)
    return (box[:3] + box[3:]) / 2 + ball * (box[3:] - box[:3]) / 2


@given(
    turn=st.floats(-3.2, 3.2),
    flip=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    axes=st.permutations(range(3)),
)
def test_moved_boxes_hold_the_ellipsoid(
    turn: float, flip: tuple, axes: list
) -> None:
    cos, sin = np.cos(turn), np.sin(turn)
    source = Geometry.from_parts(
        (20, 30, 40),
        spacing_zyx=(2, 1, 0.5),
        origin_xyz=(1, 2, 3),
        direction=[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]],
    )
    plain = Geometry.from_parts(
        (20, 30, 40),
        spacing_zyx=(1.5, 1, 0.7),
        origin_xyz=(4, 5, 6),
        direction=np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * flip,
    )
    target = plain.transpose(axes)
    box = np.array([3.0, 4, 5, 7, 12, 35])  # sides 4, 8, 30

    (moved,) = move_boxes(box, source, target)

    inside = target.to_index(source.to_world(surface(box) - 0.5)) + 0.5
    np.testing.assert_allclose(moved[:3], inside.min(0), atol=0.05)
    np.testing.assert_allclose(moved[3:], inside.max(0), atol=0.05)


def test_moved_boxes_between_parallel_grids_are_exact() -> None:
    source = Geometry.from_parts(
        (20, 30, 40), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
    )
    boxes = np.array([[3.0, 4, 5, 7, 12, 35], [0, 0, 0, 1, 1, 1]])

    back = move_boxes(boxes, source, source.flip(2).crop((1, 2, 3), (9, 9, 9)))

    # x runs the other way: 40 - x, then the crop's first voxel goes away
    np.testing.assert_allclose(
        back, [[2, 2, 2, 6, 10, 32], [-1, -2, 36, 0, -1, 37]], atol=1e-12
    )
    assert move_boxes(np.zeros((0, 6)), source, source).shape == (0, 6)
