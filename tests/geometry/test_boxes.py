from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungdet import ops
from lungdet.geometry import (
    box_iou,
    box_of_mask,
    box_slices,
    clip_boxes,
    corners_to_zyxdhw,
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

    found = box_iou(boxes.astype(float), boxes.astype(float))
    on_tensors = ops.box_iou(*[torch.tensor(boxes, dtype=torch.float64)] * 2)

    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(on_tensors, wanted, atol=1e-12)


def test_mask_box_crops_what_it_says() -> None:
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[1:3, 2:6, 4] = True

    box = box_of_mask(mask)

    assert box.tolist() == [1, 2, 4, 3, 6, 5]
    assert mask[box_slices(box)].all()
    assert mask[box_slices(box)].sum() == mask.sum()
    assert box_of_mask(~mask & False) is None


def test_center_form_and_clip_hand_worked() -> None:
    box = np.array([[-2.0, 1, 0, 4, 5, 3]])

    assert corners_to_zyxdhw(box).tolist() == [[1, 3, 1.5, 6, 4, 3]]
    assert zyxdhw_to_corners(corners_to_zyxdhw(box)).tolist() == box.tolist()
    assert clip_boxes(box, (3, 9, 2)).tolist() == [[0, 1, 0, 3, 5, 2]]
