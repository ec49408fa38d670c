from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet import geometry, ops
from tests.ops.boxes import random_boxes


def literal_iou(a: list[float], b: list[float]) -> float:
    inter, volume_a, volume_b = 1.0, 1.0, 1.0
    for k in range(3):
        inter *= max(min(a[k + 3], b[k + 3]) - max(a[k], b[k]), 0)
        volume_a *= a[k + 3] - a[k]
        volume_b *= b[k + 3] - b[k]
    return inter / (volume_a + volume_b - inter) if inter > 0 else 0.0


def test_iou_agrees_with_a_literal_one(rng: np.random.Generator) -> None:
    # small integers: touching, nested, equal and empty ones come by chance
    boxes = np.concatenate(
        [
            random_boxes(rng, 40),
            rng.uniform(0, 1e-5, (5, 1))
            + np.tile([0.0, 0, 0, 1, 2, 3], (5, 1)),
            [[3.0, 3, 3, 3, 3, 3], [1, 1, 1, 9, 8, 7], [2, 2, 2, 3, 4, 5]],
            [[0.0, 0, 0, 1e-6, 1e-6, 1e-6], [0, 0, 0, 2e-6, 1e-6, 1e-6]],
        ]
    )

    iou = ops.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes[::2]))

    wanted = [[literal_iou(a, b) for b in boxes[::2]] for a in boxes]
    np.testing.assert_allclose(iou, wanted, rtol=1e-12, atol=0)


def test_volume_of_negative_and_of_no_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 2, 3, 4], [5, 5, 5, 4, 9, 9]])

    assert ops.box_volume(boxes).tolist() == [24, 0]
    assert ops.box_volume(boxes[:0]).shape == (0,)
    assert ops.box_iou(boxes[:0], boxes).shape == (0, 2)


@pytest.mark.parametrize(
    ('low', 'high', 'moved'),
    [
        # z: centre -3 moves to 0.5; y: inside; x: centre 10 moves to 6.5
        ([-4.0, 1, 8], [-2.0, 2, 12], ([-0.5, 1, 4.5], [1.5, 2, 8.5])),
        ([0.0, 0, 0], [1.0, 1, 1], ([0.0, 0, 0], [1.0, 1, 1])),
    ],
)
def test_centers_are_clipped_and_sizes_stay(
    low: list, high: list, moved: tuple
) -> None:
    boxes = torch.tensor([low + high])

    clipped = ops.clip_box_centers(boxes, (5, 6, 7))

    assert clipped.tolist() == [moved[0] + moved[1]]


BOXES = torch.tensor([[0.0, 2, 4, 2, 6, 10], [1, 1, 1, 9, 3, 5]])


def test_centers() -> None:
    assert ops.box_centers(BOXES).tolist() == [[1, 4, 7], [5, 2, 3]]
    assert ops.box_centers(BOXES[:0]).shape == (0, 3)


def test_centers_in_boxes_from_the_low_face_up_to_the_high_one() -> None:
    # the first centre is the low corner of one, the high corner of the other
    low = torch.tensor([[1.0, 4, 7, 2, 5, 8]])
    high = torch.tensor([[0.0, 3, 6, 1, 4, 7]])
    infinite = torch.tensor([[-torch.inf] * 3 + [torch.inf] * 3])

    assert ops.centers_in_boxes(BOXES, low).tolist() == [True, False]
    assert ops.centers_in_boxes(BOXES, high).tolist() == [False, False]
    assert ops.centers_in_boxes(BOXES, infinite).tolist() == [True, True]
    both = torch.cat([low, torch.tensor([[5.0, 2, 3, 6, 3, 4]])])
    assert ops.centers_in_boxes(BOXES, both).tolist() == [True, True]
    assert ops.centers_in_boxes(BOXES, low[:0]).tolist() == [False, False]


def test_touching_boxes_are_those_of_geometry() -> None:
    # small integers: faces that meet, and empty boxes, come by chance
    boxes = torch.randint(-3, 9, (500, 6), generator=torch.manual_seed(4))

    touching = ops.boxes_touching(boxes, (4, 5, 6))

    wanted = geometry.boxes_touching(boxes.numpy(), (4, 5, 6))
    np.testing.assert_array_equal(touching, wanted)
    assert 0 < int(touching.sum()) < 500


@pytest.mark.parametrize(
    ('center', 'is_inside'),
    [(4.0, True), (3.99, False), (6.0, True), (6.01, False)],
)
def test_centres_keep_their_distance_from_both_faces(
    center: float, is_inside: bool
) -> None:
    box = torch.tensor([[4.0, 4, center - 1, 6, 6, center + 1]])

    assert ops.centers_inside(box, (10, 10, 10), 4.0).tolist() == [is_inside]


def test_grown_boxes_keep_their_centers_and_shrink_again(
    rng: np.random.Generator,
) -> None:
    low = torch.from_numpy(rng.uniform(0, 30, (50, 3)))
    sides = torch.from_numpy(rng.uniform(0, 9, (50, 3)))
    boxes = torch.cat([low, low + sides], dim=1)

    grown = ops.grow_boxes(boxes, 8.0)
    back = ops.grow_boxes(grown, -8.0)
    small = ops.grow_boxes(boxes, -3.0)

    np.testing.assert_allclose(grown[:, 3:] - grown[:, :3], sides + 8)
    np.testing.assert_allclose(ops.box_centers(grown), ops.box_centers(boxes))
    np.testing.assert_allclose(ops.box_centers(small), ops.box_centers(boxes))
    np.testing.assert_allclose(
        small[:, 3:] - small[:, :3],
        torch.where(sides > 4, sides - 3, sides.clamp(max=1)),
    )
    is_long = (sides >= 1).all(1)
    np.testing.assert_allclose(back[is_long], boxes[is_long])
    np.testing.assert_allclose(
        ops.box_sides(boxes), sides.clamp(min=1e-3).prod(1) ** (1 / 3)
    )


def test_nearness_to_a_mask_is_the_literal_distance(
    rng: np.random.Generator,
) -> None:
    mask = np.zeros((20, 30, 40), dtype=bool)
    mask[5:15, 10:20, 10:20] = True
    voxels = np.argwhere(mask)
    index = rng.uniform(-4, 34, (80, 3))
    boxes = np.concatenate([index + 0.5 - 2, index + 0.5 + 2], axis=1)

    near = ops.centers_near_mask(
        torch.from_numpy(boxes), torch.from_numpy(mask), 3.0
    )

    wanted = [
        np.sqrt(((voxels - at) ** 2).sum(1)).min() <= 3.0
        or np.abs(voxels - at).max(1).min() < 0.5
        for at in index
    ]
    assert near.tolist() == wanted and 0 < sum(wanted) < len(wanted)
