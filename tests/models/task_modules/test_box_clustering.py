from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.models import DetectionPostProcessor, WeightedBoxClustering


def iou(a: list[float], b: list[float]) -> float:
    inter = 1.0
    for k in range(3):
        inter *= max(0.0, min(a[k + 3], b[k + 3]) - max(a[k], b[k]))
    return inter / (volume(a) + volume(b) - inter)


def volume(box: list[float]) -> float:
    z, y, x = (box[k + 3] - box[k] for k in range(3))
    return z * y * x


def distance(a: list[float], b: list[float]) -> float:
    return sum(
        ((a[k] + a[k + 3] - b[k] - b[k + 3]) / 2) ** 2 for k in range(3)
    ) ** (1 / 2)


def literal(
    rows: list[tuple[list[float], float, int]],
    num_views: int,
    iou_thr: float,
    near: float,
) -> list[tuple[float, list[float]]]:
    """Take the best that is left, and all that is the same as it."""
    left = sorted(rows, key=lambda row: -row[1])
    clusters = []
    while left:
        head = left[0][0]
        members = [
            row
            for row in left
            if row is left[0]
            or iou(row[0], head) > iou_thr
            or distance(row[0], head) < near
        ]
        left = [row for row in left if row not in members]
        weights = [iou(box, head) * volume(box) for box, _, _ in members]
        missing = num_views - len({view for *_, view in members})
        mean = sum(weights) / len(weights)
        score = sum(w * s for w, (_, s, _) in zip(weights, members)) / (
            sum(weights) + missing * mean
        )
        by_score = [w * s for w, (_, s, _) in zip(weights, members)]
        box = [
            sum(w * row[0][k] for w, row in zip(by_score, members))
            / sum(by_score)
            for k in range(6)
        ]
        clusters.append((score, box))
    return sorted(clusters, key=lambda cluster: -cluster[0])


@pytest.mark.parametrize('num_views', [1, 4])
@pytest.mark.parametrize(('iou_thr', 'near'), [(0.1, 0.0), (0.5, 3.0)])
def test_clusters_are_those_of_a_loop(
    num_views: int, iou_thr: float, near: float
) -> None:
    rng = torch.Generator().manual_seed(3)
    centers = torch.rand(12, 3, generator=rng).repeat(25, 1) * 60
    centers += torch.randn(300, 3, generator=rng) * 1.5
    half = 2 + 3 * torch.rand(300, 3, generator=rng)
    boxes = torch.cat([centers - half, centers + half], 1).double()
    scores = torch.rand(300, generator=rng).double()
    views = torch.randint(num_views, (300,), generator=rng)

    merged = WeightedBoxClustering(iou_thr, near or None).merge(
        InstanceData(bboxes=boxes, scores=scores, views=views), num_views
    )

    rows = list(zip(boxes.tolist(), scores.tolist(), views.tolist()))
    wanted = literal(rows, num_views, iou_thr, near)
    assert 12 <= len(wanted) < 300
    assert merged.scores.tolist() == pytest.approx([s for s, _ in wanted])
    assert merged.bboxes.flatten().tolist() == pytest.approx(
        [value for _, box in wanted for value in box]
    )


def test_a_score_of_zero_keeps_its_box() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 4, 4], [20.0, 20, 20, 26, 26, 26]])

    merged = WeightedBoxClustering().merge(
        InstanceData(bboxes=boxes, scores=torch.tensor([0.5, 0.0])), 1
    )

    assert torch.equal(merged.bboxes, boxes)
    assert merged.scores.tolist() == [0.5, 0.0]


def test_what_one_of_four_views_sees_is_worth_a_quarter() -> None:
    box = torch.tensor([[0.0, 0, 0, 4, 4, 4]])
    both = torch.cat([box.repeat(4, 1), box + 20])
    given = InstanceData(
        bboxes=both,
        scores=torch.tensor([0.5, 0.7, 0.6, 0.6, 0.8]),
        rcnn_scores=torch.tensor([0.4, 0.8, 0.6, 0.6, 1.0]),
        rpn_scores=torch.full((5,), torch.nan),
        views=torch.tensor([0, 1, 2, 3, 2]),
        mask_boxes=torch.arange(30).view(5, 6),
        masks=[torch.ones(k, k, k) for k in range(5)],
    )

    merged = DetectionPostProcessor().select(given, 4)

    assert merged.scores.tolist() == pytest.approx([0.6, 0.2])
    assert merged.rcnn_scores.tolist() == pytest.approx([0.6, 0.25])
    assert merged.rpn_scores.isnan().all()
    assert torch.equal(merged.bboxes, torch.cat([box, box + 20]))
    # of the best of the cluster
    assert [len(mask) for mask in merged.masks] == [1, 4]
    assert merged.mask_boxes.tolist() == given.mask_boxes[[1, 4]].tolist()
    best = DetectionPostProcessor(max_per_scan=1).select(given, 4)
    assert best.scores.tolist() == pytest.approx([0.6])


def test_weaker_boxes_of_a_view_do_not_lower_its_mean() -> None:
    box = torch.tensor([[0.0, 0, 0, 4, 4, 4]])
    given = InstanceData(
        bboxes=torch.cat([box, box + 1, box, box + 1, box + 1]),
        scores=torch.tensor([0.9, 0.1, 0.7, 0.1, 0.2]),
        views=torch.tensor([0, 0, 1, 1, 1]),
    )
    merge = {'type': 'WeightedBoxClustering', 'iou_thr': 0.1}

    for options in ({}, {'merge': merge}):
        merged = DetectionPostProcessor(**options).select(given, 2)

        assert merged.scores.tolist() == pytest.approx([0.8])
        assert torch.equal(merged.bboxes, box)


def test_one_view_without_a_merge_is_suppressed_as_ever() -> None:
    box = torch.tensor([[0.0, 0, 0, 4, 4, 4]])
    given = InstanceData(
        bboxes=torch.cat([box, box + 1]), scores=torch.tensor([0.5, 0.7])
    )
    merge = {'type': 'WeightedBoxClustering', 'iou_thr': 0.1}

    kept = DetectionPostProcessor().select(given)
    fused = DetectionPostProcessor(merge=merge).select(given)

    assert kept.scores.tolist() == pytest.approx([0.7])
    assert torch.equal(kept.bboxes, box + 1)
    weight = 27 / (64 + 64 - 27)
    assert fused.scores.tolist() == pytest.approx(
        [(0.7 + weight * 0.5) / (1 + weight)]
    )


def test_nothing_stays_nothing() -> None:
    nothing = InstanceData(
        bboxes=torch.zeros(0, 6),
        scores=torch.zeros(0),
        views=torch.zeros(0, dtype=torch.long),
        masks=[],
    )

    assert len(DetectionPostProcessor().select(nothing, 8)) == 0
