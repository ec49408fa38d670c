from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import AnnotationError
from lungdet.evaluation import (
    detection_scores,
    dice_iou,
    reference_box_scores,
    scan_score,
)
from lungdet.evaluation.mask_metrics import match_masks, score_mask

SPACING = np.array([2.0, 1.0, 0.5])


def test_two_shifted_blocks() -> None:
    # 2 x 3 x 4 = 24 voxels each, shifted by 1 along x: 18 in common
    one, two = np.zeros((2, 4, 9), bool), np.zeros((2, 4, 9), bool)
    one[:, :3, :4] = True
    two[:, :3, 1:5] = True

    assert dice_iou(one, two) == (36 / 48, 18 / 30)


def test_empty_masks_and_other_shapes() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)

    assert dice_iou(empty, empty) == (1.0, 1.0)
    assert dice_iou(empty, full) == (0.0, 0.0)
    with pytest.raises(AnnotationError, match='on one grid'):
        dice_iou(empty, full[:1])
    assert score_mask(empty, full, SPACING).surface_mm is None


def test_distance_of_single_voxels_and_of_shifted_plates() -> None:
    # 3 voxels apart along z: 6 mm
    one, two = np.zeros((5, 4, 3), bool), np.zeros((5, 4, 3), bool)
    one[0, 1, 1] = two[3, 1, 1] = True
    assert score_mask(one, two, SPACING).surface_mm == 6.0

    # plates of 1 x 4 x 3 voxels, one plane apart: 2 mm everywhere
    plate, other = np.zeros((5, 4, 3), bool), np.zeros((5, 4, 3), bool)
    plate[1], other[2] = True, True
    score = score_mask(plate, other, SPACING)
    assert (score.surface_mm, score.surface95_mm) == (2.0, 2.0)
    assert (score.dice, score.iou) == (0.0, 0.0)


def literal_surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Voxels with a neighbour, over a face, that is not in the mask."""
    inside = set(map(tuple, np.argwhere(mask).tolist()))
    steps = [
        s
        for s in itertools.product((-1, 0, 1), repeat=3)
        if sum(map(abs, s)) == 1
    ]
    return [
        p
        for p in inside
        if any(tuple(np.add(p, s).tolist()) not in inside for s in steps)
    ]


@given(seed=st.integers(0, 10_000))
def test_distances_agree_with_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.random((2, 4, 5, 6)) < 0.5
    a, b = (np.array(literal_surface(m)) * SPACING for m in (one, two))
    gaps = np.linalg.norm(a[:, None] - b[None], axis=2)
    there, back = gaps.min(1), gaps.min(0)

    score = score_mask(one, two, SPACING)

    assert score.surface_mm == pytest.approx(
        (there.sum() + back.sum()) / (len(there) + len(back))
    )
    assert score.surface95_mm == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95))
    )


def scene() -> tuple[np.ndarray, dict, list]:
    """Two nodules of 2^3; one half covered and shared, one mask beside."""
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[1:3, 1:3, 5:7] = 2
    boxes = {
        1: np.array([1, 1, 1, 3, 3, 3]),
        2: np.array([1, 1, 5, 3, 3, 7]),
    }
    masks = [
        # one plane of nodule 1, nothing else
        (np.ones((1, 2, 2), bool), np.array([1, 1, 1, 2, 3, 3])),
        # nodule 1 whole and the plane beyond it: 12 voxels
        (np.ones((3, 2, 2), bool), np.array([1, 1, 1, 4, 3, 3])),
        # 4 voxels far from both
        (np.ones((1, 2, 2), bool), np.array([5, 5, 8, 6, 7, 10])),
    ]
    return labels, boxes, masks


def test_three_scopes_of_one_scene() -> None:
    labels, boxes, masks = scene()

    in_boxes = reference_box_scores(labels, boxes, masks, SPACING)
    matched = detection_scores(labels, boxes, masks, SPACING)
    whole = scan_score(labels, masks, SPACING)

    # in the box of 1 everything is covered, in that of 2 nothing
    assert in_boxes[1].dice == 1.0 and in_boxes[1].surface_mm == 0.0
    assert in_boxes[2].dice == 0.0 and in_boxes[2].surface_mm is None
    # the larger mask is the better partner: 8 of 12 voxels
    assert set(matched) == {1}
    assert matched[1].iou == pytest.approx(8 / 12)
    assert matched[1].dice == pytest.approx(16 / 20)
    # 16 reference, 16 predicted voxels, 8 in common
    assert whole.dice == 0.5 and whole.iou == pytest.approx(8 / 24)


@given(seed=st.integers(0, 10_000))
def test_matching_is_the_best_of_all_one_to_one_matchings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (3, 4, 5)).astype(np.uint8)
    masks = []
    for _ in range(rng.integers(0, 4)):
        low = rng.integers(0, 2, 3)
        high = low + rng.integers(1, 3, 3)
        masks.append((rng.random(high - low) < 0.6, np.append(low, high)))
    iou = np.zeros((3, 3))
    for column, (mask, box) in enumerate(masks):
        full = np.zeros(labels.shape, bool)
        z1, y1, x1, z2, y2, x2 = box
        full[z1:z2, y1:y2, x1:x2] = mask
        for number in (1, 2, 3):
            iou[number - 1, column] = dice_iou(full, labels == number)[1]
    best = max(
        sum(iou[row, column] for row, column in enumerate(order))
        for order in itertools.permutations(range(3))
    )

    matched = match_masks(labels, [1, 2, 3], masks)

    assert len(set(matched.values())) == len(matched)
    total = sum(iou[number - 1, column] for number, column in matched.items())
    assert total == pytest.approx(best)
