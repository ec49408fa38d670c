from __future__ import annotations

import pytest
import torch

from lungdet.models import (
    AnchorGenerator3D,
    ATSSAssigner3D,
    CenterAssigner3D,
    DistanceAssigner3D,
    MaxIoUAssigner3D,
    PublishedAssigner3D,
)
from lungdet.ops import box_centers

NONE = torch.zeros(0, 6)
AWKWARD_SIZES = (4.4, 6.4, 9.7, 15.5)  # (c + s/2) - (c - s/2) is not s


def cube(center: tuple[float, float, float], side: float) -> torch.Tensor:
    middle = torch.tensor([center])
    return torch.cat([middle - side / 2, middle + side / 2], 1)


def test_forced_match_needs_overlap() -> None:
    """Published: every anchor is then a nodule's best, and positive."""
    anchors = AnchorGenerator3D().grid_anchors((4, 4, 6))
    far = torch.tensor([[500.0, 500, 500, 510, 510, 510]])

    repaired = MaxIoUAssigner3D().assign(anchors, far)
    published = PublishedAssigner3D().assign(anchors, far)

    assert not repaired.positive.any()
    assert repaired.negative.all()
    assert published.positive.all()


def test_ignored_region_is_no_negative_and_never_beats_a_positive() -> None:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    gt = torch.tensor([[8.0, 8, 8, 20, 20, 20]])
    region = torch.tensor([[0.0, 0, 0, 16, 16, 16]])

    plain = MaxIoUAssigner3D().assign(anchors, gt)
    spared = MaxIoUAssigner3D().assign(anchors, gt, region)

    centers = (anchors[:, :3] + anchors[:, 3:]) / 2
    inside = (centers < 16).all(1)
    assert torch.equal(spared.positive, plain.positive)
    assert not (spared.negative & inside).any()
    assert torch.equal(spared.negative[~inside], plain.negative[~inside])


@pytest.mark.parametrize(
    'assigner',
    [
        ATSSAssigner3D(),
        CenterAssigner3D(),
        DistanceAssigner3D(),
        MaxIoUAssigner3D(),
    ],
)
def test_what_a_cut_nodule_would_take_is_not_negative(assigner) -> None:
    """Its centre is 1.5 voxels from the face of the crop."""
    anchors = AnchorGenerator3D(AWKWARD_SIZES).grid_anchors((16, 16, 16))
    nodule = cube((1.5, 33.0, 35.0), 3.5)

    as_target = assigner.assign(anchors, nodule, per_cell=4)
    as_region = assigner.assign(anchors, NONE, nodule, per_cell=4)

    assert as_target.positive.any()
    assert not (as_region.negative & as_target.positive).any()
    assert not as_region.positive.any()
    assert as_region.negative.sum() > 0.99 * len(anchors)


def test_an_ignored_box_beside_all_anchors_takes_none() -> None:
    """Published: a nodule there would take them all."""
    anchors = AnchorGenerator3D().grid_anchors((4, 4, 6))
    far = torch.tensor([[500.0, 500, 500, 510, 510, 510]])

    assert PublishedAssigner3D().assign(anchors, NONE, far).negative.all()


@pytest.mark.parametrize('side', AWKWARD_SIZES)
def test_center_rule_takes_the_nearest_anchors_of_the_best_size(
    side: float,
) -> None:
    anchors = AnchorGenerator3D(AWKWARD_SIZES).grid_anchors((16, 16, 16))
    gt = cube((30.5, 33.0, 35.0), side)

    assigned = CenterAssigner3D(topk=5).assign(anchors, gt, per_cell=4)

    distance = (box_centers(anchors) - box_centers(gt)).norm(dim=1)
    of_size = torch.arange(len(anchors)) % 4 == AWKWARD_SIZES.index(side)
    is_positive = assigned.positive
    assert (is_positive <= of_size).all()
    farthest = distance[is_positive].max()
    # 27 cells of 4 voxels: at most a cell's diagonal from the centre
    assert farthest <= 4 * 3**0.5
    assert is_positive.sum() == (of_size & (distance <= farthest)).sum() >= 5


def literal_centers(
    centers: list[list[float]],
    sizes: tuple[float, ...],
    nodules: list[tuple[list[float], float]],
) -> tuple[dict[tuple[int, int], int], set[int]]:
    """The rule in plain loops: {(cell, size): nodule}, cells not negative."""
    positive: dict[tuple[int, int], int] = {}
    spared: set[int] = set()
    by_side = sorted(range(len(nodules)), key=lambda j: -nodules[j][1])
    for j in by_side:
        middle, side = nodules[j]
        ratios = [max(size / side, side / size) for size in sizes]
        fit = ratios.index(min(ratios))
        distance = [
            sum((a - b) ** 2 for a, b in zip(center, middle)) ** 0.5
            for center in centers
        ]
        order = sorted(range(len(centers)), key=distance.__getitem__)
        within = sum(d <= 0.35 * side for d in distance)
        count = min(max(within, 5), 27)
        for cell in order[:count]:
            positive[cell, fit] = j
        reach = distance[order[count + 25 - 1]]
        spared |= {c for c, d in enumerate(distance) if d <= reach}
    return positive, spared


def test_center_rule_agrees_with_plain_loops() -> None:
    generator = AnchorGenerator3D(AWKWARD_SIZES)
    anchors = generator.grid_anchors((9, 8, 10), dtype=torch.float64)
    torch.manual_seed(0)
    for _ in range(5):
        middles = torch.rand(3, 3, dtype=torch.float64) * 24 + 4
        middles[1] = middles[0] + 3  # two nodules claim the same anchors
        sides = torch.rand(3, dtype=torch.float64) * 20 + 4
        gt = torch.cat(
            [middles - sides[:, None] / 2, middles + sides[:, None] / 2], 1
        )
        nodules = list(zip(middles.tolist(), sides.tolist()))

        assigned = CenterAssigner3D().assign(anchors, gt, per_cell=4)

        centers = box_centers(anchors[::4]).tolist()
        positive, spared = literal_centers(centers, AWKWARD_SIZES, nodules)
        where = torch.nonzero(assigned.positive).flatten().tolist()
        assert {
            (row // 4, row % 4): int(assigned.gt_inds[row]) for row in where
        } == positive
        neither = ~assigned.positive & ~assigned.negative
        expected = {
            (cell, size)
            for cell in spared
            for size in range(4)
            if (cell, size) not in positive
        }
        rows = torch.nonzero(neither).flatten().tolist()
        assert {(row // 4, row % 4) for row in rows} == expected


def test_center_rule_without_nodules_has_negatives_alone() -> None:
    anchors = AnchorGenerator3D(AWKWARD_SIZES).grid_anchors((4, 4, 4))

    assigned = CenterAssigner3D().assign(
        anchors, torch.zeros(0, 6), per_cell=4
    )

    assert not assigned.positive.any()
    assert assigned.negative.all()


def test_proposals_are_matched_as_marks_are() -> None:
    # radii 2 (so the reach of 2.5 is taken) and 6, centres 20 apart
    gt = torch.cat([cube((20.0, 20, 20), 4), cube((20.0, 20, 40), 12)])
    distances = [0, 2.4, 2.6, 6.4, 6.6]
    at_small = [cube((20.0 - d, 20, 20), 9) for d in distances]
    at_large = [cube((20.0, 20 + d, 40), 3) for d in (5.9, 6.1, 9.9, 10.1)]
    boxes = torch.cat([*at_small, *at_large])

    assigned = DistanceAssigner3D(reach=2.5, margin=4.0).assign(boxes, gt)

    assert (
        assigned.positive.tolist()
        == [True] * 2 + [False] * 3 + [True] + [False] * 3
    )
    assert torch.nonzero(assigned.negative).flatten().tolist() == [4, 8]
    assert assigned.gt_inds[assigned.positive].tolist() == [0, 0, 1]


def test_a_box_between_two_nodules_belongs_to_the_one_it_is_deeper_in() -> (
    None
):
    gt = torch.cat([cube((20.0, 20, 20), 6), cube((20.0, 20, 28), 14)])

    assigned = DistanceAssigner3D().assign(cube((20.0, 20, 22.5), 8), gt)

    assert assigned.positive.all() and assigned.gt_inds.tolist() == [1]


def test_distance_rule_without_nodules_or_boxes() -> None:
    boxes, region = cube((20.0, 20, 20), 6), cube((20.0, 20, 21), 4)
    none = torch.zeros(0, 6)
    rule = DistanceAssigner3D()

    assert rule.assign(boxes, none).negative.all()
    assert not rule.assign(boxes, none, region).negative.any()
    assert not rule.assign(boxes, none).positive.any()
    assert len(rule.assign(none, boxes).gt_inds) == 0
