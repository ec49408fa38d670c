from __future__ import annotations

import statistics

import pytest
import torch

from lungdet.models import AnchorGenerator3D, ATSSAssigner3D, RPN3DHead
from lungdet.ops import box_iou

SIZES = (4.4, 6.4, 9.7, 15.5)
GENERATOR = AnchorGenerator3D(SIZES)
ANCHORS = GENERATOR.grid_anchors((6, 7, 8))
GT = torch.tensor(
    [
        [9.0, 10.0, 11.0, 14.0, 15.0, 16.0],
        [10.5, 12.0, 13.0, 18.5, 20.0, 21.0],  # overlaps the first
        [1.0, 20.0, 25.0, 4.3, 23.3, 28.3],  # between cells, at a face
    ]
)


def literal(
    anchors: torch.Tensor, gt: torch.Tensor, topk: int, inside: bool
) -> dict[int, int]:
    """Nodule of each positive anchor, by the paper's algorithm in loops."""
    iou = box_iou(anchors, gt).tolist()
    claims: dict[int, list[int]] = {}
    for j, box in enumerate(gt.tolist()):
        center = [(box[k] + box[k + 3]) / 2 for k in range(3)]
        candidates = []
        for size in range(len(SIZES)):  # the levels of the paper
            level = range(size, len(anchors), len(SIZES))
            gap = {
                i: sum(
                    float((anchors[i, k] + anchors[i, k + 3]) / 2 - center[k])
                    ** 2
                    for k in range(3)
                )
                for i in level
            }
            candidates += sorted(level, key=gap.get)[:topk]
        overlaps = [iou[i][j] for i in candidates]
        limit = statistics.mean(overlaps) + statistics.stdev(overlaps)
        for i in candidates:
            at = [
                float(anchors[i, k] + anchors[i, k + 3]) / 2 for k in range(3)
            ]
            within = all(box[k] < at[k] < box[k + 3] for k in range(3))
            chosen = iou[i][j] >= limit > 0 and (within or not inside)
            if chosen or iou[i][j] == max(overlaps):
                claims.setdefault(i, []).append(j)
    return {
        i: max(nodules, key=lambda j: iou[i][j])
        for i, nodules in claims.items()
    }


@pytest.mark.parametrize('topk', [1, 4, 9])
@pytest.mark.parametrize('inside', [False, True])
def test_positives_are_those_of_a_loop(topk: int, inside: bool) -> None:
    assigned = ATSSAssigner3D(topk, center_inside=inside).assign(
        ANCHORS, GT, per_cell=len(SIZES)
    )

    rows = torch.nonzero(assigned.positive).flatten().tolist()
    wanted = literal(ANCHORS, GT, topk, inside)
    assert {i: int(assigned.gt_inds[i]) for i in rows} == wanted
    assert set(wanted.values()) == {0, 1, 2}  # each nodule has some
    assert torch.equal(assigned.negative, ~assigned.positive)


def test_every_size_of_luna16_gets_a_positive_anchor() -> None:
    """Where half of the IoU is asked for, three quarters get none."""
    generator = torch.Generator().manual_seed(0)
    center = 12 + 4 * torch.rand(300, 3, generator=generator)
    side = 3.25 + 15 * torch.rand(300, 1, generator=generator)
    gt = torch.cat([center - side / 2, center + side / 2], 1)

    for box in gt:
        assigned = ATSSAssigner3D().assign(
            ANCHORS, box[None], per_cell=len(SIZES)
        )
        best = box_iou(ANCHORS, box[None])[:, 0]
        assert assigned.positive.any()
        assert (best[assigned.positive] > 0).all()
        assert len(best[assigned.positive]) <= 4 * len(SIZES)


def test_excluded_regions_have_no_negatives() -> None:
    ignored = torch.tensor([[12.0, 12, 12, 24, 24, 24]])

    assigned = ATSSAssigner3D().assign(ANCHORS, GT, ignored, per_cell=4)
    plain = ATSSAssigner3D().assign(ANCHORS, GT, per_cell=4)

    assert torch.equal(assigned.positive, plain.positive)
    assert plain.negative.sum() > assigned.negative.sum()


def test_crop_without_a_nodule_is_all_negative() -> None:
    assigned = ATSSAssigner3D().assign(ANCHORS, GT[:0], per_cell=4)

    assert assigned.negative.all() and not assigned.positive.any()


def test_head_is_built_with_it() -> None:
    head = RPN3DHead(
        in_channels=4,
        feat_channels=4,
        anchor_generator={'type': 'AnchorGenerator3D', 'sizes': SIZES},
        loss_bbox={'type': 'DIoUBoxLoss'},
        train_cfg={'assigner': {'type': 'ATSSAssigner3D', 'topk': 4}},
    )

    targets = head.get_targets(ANCHORS, GT)

    assert sorted(set(targets.gt_inds[targets.positive].tolist())) == [0, 1, 2]
