from __future__ import annotations

import pytest
import torch

from lungdet.models import DeltaBoxCoder3D, DIoUBoxLoss
from lungdet.models.losses.diou import diou_loss

CODER = DeltaBoxCoder3D(weights=(10.0, 10.0, 10.0, 5.0, 5.0, 5.0))


def literal(a: list[float], b: list[float]) -> float:
    sides = [[box[k + 3] - box[k] for k in range(3)] for box in (a, b)]
    inter, square, diagonal = 1.0, 0.0, 0.0
    for k in range(3):
        inter *= max(0.0, min(a[k + 3], b[k + 3]) - max(a[k], b[k]))
        square += ((a[k] + a[k + 3]) / 2 - (b[k] + b[k + 3]) / 2) ** 2
        diagonal += (max(a[k + 3], b[k + 3]) - min(a[k], b[k])) ** 2
    one, other = (side[0] * side[1] * side[2] for side in sides)
    return 1 - inter / (one + other - inter) + square / diagonal


def test_loss_of_deltas_is_that_of_the_boxes() -> None:
    rng = torch.Generator().manual_seed(0)
    low = 40 * torch.rand(50, 3, generator=rng, dtype=torch.float64)
    size = 5 + 20 * torch.rand(50, 1, generator=rng, dtype=torch.float64)
    anchors = torch.cat([low, low + size], 1)
    shift = torch.randn(2, 50, 3, generator=rng, dtype=torch.float64) * 4
    sides = 3 + 9 * torch.rand(2, 50, 3, generator=rng, dtype=torch.float64)
    center = low + size / 2 + shift
    boxes, gt = torch.cat([center - sides / 2, center + sides / 2], 2)

    loss = DIoUBoxLoss(weights=CODER.weights, loss_weight=2.0)(
        CODER.encode(anchors, boxes), CODER.encode(anchors, gt)
    )

    each = [literal(a, b) for a, b in zip(boxes.tolist(), gt.tolist())]
    assert diou_loss(boxes, gt).tolist() == pytest.approx(each)
    assert min(each) < 0.9 and max(each) > 1.1  # overlapping and apart
    assert loss.item() == pytest.approx(2 * sum(each) / 50)


def test_boxes_that_are_apart_are_drawn_together() -> None:
    """IoU alone has no gradient there."""
    deltas = torch.tensor([[3.0, 0, 0, 0, 0, 0]], requires_grad=True)

    DIoUBoxLoss()(deltas, torch.zeros(1, 6)).backward()

    assert deltas.grad[0, 0] > 0.05
    assert deltas.grad[0, 1:3].tolist() == [0, 0]


def test_early_deltas_stay_finite_and_no_rows_give_zero() -> None:
    deltas = torch.full((2, 6), 200.0, requires_grad=True)

    loss = DIoUBoxLoss()(deltas, torch.zeros(2, 6))
    loss.backward()

    assert loss.isfinite() and deltas.grad.isfinite().all()
    nothing = torch.zeros(0, 6, requires_grad=True)
    assert DIoUBoxLoss()(nothing, nothing.detach()).item() == 0
