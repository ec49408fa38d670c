from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from lungdet import ops
from lungdet.geometry import box_iou
from tests.ops.boxes import random_boxes

NMS = importlib.import_module('lungdet.ops.nms')  # ops.nms is the function


def literal_nms(
    boxes: np.ndarray, scores: np.ndarray, thr: float
) -> list[int]:
    iou = box_iou(boxes, boxes)
    alive = sorted(range(len(boxes)), key=lambda k: (-scores[k], k))
    keep = []
    for k in alive:
        if all(iou[j, k] <= thr for j in keep):
            keep.append(k)
    return keep


def test_nms_of_a_long_chain_over_many_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NMS, 'BOXES_AT_ONCE', 7)
    low = torch.arange(101)[:, None] * torch.tensor([0.0, 0, 2])
    boxes = torch.cat([low, low + 4], dim=1)  # each overlaps the next by 1/3

    falling = ops.nms(boxes, torch.linspace(1, 0, 101), 0.1)
    equal = ops.nms(boxes, torch.ones(101), 0.1)
    copies = ops.nms(boxes[:1].repeat(50, 1), torch.zeros(50), 0.1)

    assert falling.tolist() == equal.tolist() == list(range(0, 101, 2))
    assert copies.tolist() == [0]


@pytest.mark.parametrize('block', [3, 16, 2048])
@pytest.mark.parametrize('thr', [0.0, 0.1, 0.5])
def test_nms_agrees_with_the_greedy_loop(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    thr: float,
) -> None:
    monkeypatch.setattr(NMS, 'BOXES_AT_ONCE', block)
    for _ in range(10):
        boxes = random_boxes(rng, 60)
        scores = rng.integers(0, 6, 60) / 5  # many ties

        kept = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), thr)

        assert kept.tolist() == literal_nms(boxes, scores, thr)


def test_nms_of_chains_touching_nested_and_nothing() -> None:
    boxes = torch.tensor(
        [
            [0.0, 0, 0, 4, 4, 4],
            [0, 0, 2, 4, 4, 6],
            [0, 0, 4, 4, 4, 8],
            [1, 1, 1, 2, 2, 2],
            [0, 0, 8, 4, 4, 8],
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])

    # 1 falls to 0, so 2 stays; 3 is nested with IoU 1/64; 4 is empty
    assert ops.nms(boxes, scores, 0.1).tolist() == [0, 2, 3, 4]
    assert ops.nms(boxes[:0], scores[:0], 0.1).tolist() == []


def test_near_centers_suppress_whatever_the_overlap() -> None:
    boxes = torch.tensor(
        [
            [0.0, 0, 0, 8, 8, 8],
            [3, 3, 3, 5, 5, 6],  # centre 0.5 away, IoU 12 / 512
            [0, 0, 8, 8, 8, 16],  # touches the first, centre 8 away
            [0, 0, 1, 8, 8, 9],  # centre 1 away, IoU 7 / 9
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])

    def kept(iou_thr: float | None, distance: float | None) -> list[int]:
        return ops.nms(
            boxes, scores, iou_thr, center_distance=distance
        ).tolist()

    assert kept(None, 1.0) == [0, 2, 3]  # nearer than, not as near as
    assert kept(None, 1.5) == [0, 2]
    assert kept(0.1, 0.4) == [0, 1, 2]
    assert kept(0.1, 0.6) == [0, 2]
    assert kept(None, None) == [0, 1, 2, 3]


@pytest.mark.parametrize('num', [40, 1500])  # one block, two blocks
def test_both_rules_agree_with_the_greedy_walk(
    num: int, rng: np.random.Generator
) -> None:
    low = torch.from_numpy(rng.uniform(0, 60, (num, 3)))
    boxes = torch.cat(
        [low, low + torch.from_numpy(rng.uniform(2, 12, (num, 3)))], 1
    )
    scores = torch.from_numpy(rng.uniform(size=num))
    near = torch.cdist(ops.box_centers(boxes), ops.box_centers(boxes)) < 5.0
    same = (near | (ops.box_iou(boxes, boxes) > 0.2)).numpy()
    keep: list[int] = []
    for k in scores.argsort(descending=True).tolist():
        if not same[k, keep].any():
            keep.append(k)

    assert ops.nms(boxes, scores, 0.2, center_distance=5.0).tolist() == keep


def test_centers_within_the_larger_radius_suppress() -> None:
    sides = torch.tensor([12.0, 3, 3, 3])
    x = torch.tensor([0.0, 5, 7, 10.5])[:, None] * torch.tensor([0.0, 0, 1])
    boxes = torch.cat([x - sides[:, None] / 2, x + sides[:, None] / 2], dim=1)
    scores = torch.tensor([0.6, 0.9, 0.8, 0.7])

    def kept(distance: float | None, radii: float | None) -> list[int]:
        return ops.nms(
            boxes, scores, None, center_distance=distance, center_radii=radii
        ).tolist()

    assert kept(None, 1.0) == [1, 2, 3]  # 5 < 6: the large one goes
    assert kept(4.0, 1.0) == [1, 3]  # 2 < 4: one of the small ones, too
    assert kept(4.0, None) == [1, 3, 0]
    assert kept(None, 0.8) == [1, 2, 3, 0]  # 5 > 4.8
