from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lungdet.models import (
    BalancedCrossEntropy,
    FocalLoss3D,
    HardNegativeBCE,
    SmoothL1BoxLoss,
)


def test_rpn_loss_without_positives_is_finite_and_learns() -> None:
    """Published: no negative without a positive, the mean of nothing."""
    losses, gradients = {}, {}
    none = torch.zeros(20, dtype=torch.bool)
    for min_hard in (3, 0):
        logits = torch.zeros(20, dtype=torch.float64, requires_grad=True)
        loss = HardNegativeBCE(min_hard=min_hard)(logits, none, ~none)
        loss.backward()
        losses[min_hard] = loss.item()
        gradients[min_hard] = int((logits.grad > 0).sum())

    assert losses == {3: pytest.approx(0.5 * np.log(2)), 0: 0}
    assert gradients == {3: 3, 0: 0}


def test_loss_gradient_survives_a_large_logit() -> None:
    """Published: the sigmoid first, in float32, whose gradient is 0 at 40."""
    repaired = torch.tensor([40.0], requires_grad=True)
    published = torch.tensor([40.0], requires_grad=True)
    one = torch.ones(1, dtype=torch.bool)

    (HardNegativeBCE()(repaired, ~one, one) * 2).backward()
    F.binary_cross_entropy(published.sigmoid(), torch.zeros(1)).backward()

    assert float(repaired.grad) == pytest.approx(1.0)
    assert float(published.grad) == 0


def test_background_alone_gives_the_roi_head_no_box_loss() -> None:
    """Published: an undefined list."""
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    none = torch.zeros(0, 6, requires_grad=True)

    cls = BalancedCrossEntropy()(logits, torch.zeros(2, dtype=torch.long))
    box = SmoothL1BoxLoss()(none, torch.zeros(0, 6))
    (cls + box).backward()

    wanted = (np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2
    assert float(cls.detach()) == pytest.approx(wanted)
    assert float(box.detach()) == 0


def roles(num_pos: int) -> tuple[torch.Tensor, torch.Tensor]:
    positive = torch.arange(1000) < num_pos
    return positive, ~positive


def test_a_batch_of_background_weighs_what_a_batch_of_nodules_does() -> None:
    """By its own number of positives it would weigh 12 times as much."""
    logits = torch.zeros(1000, requires_grad=True)
    loss = FocalLoss3D(momentum=0.9)
    of_a_negative = {}
    for step in range(100):
        num_pos = 12 if step % 2 else 0
        value = loss(logits, *roles(num_pos))
        (grad,) = torch.autograd.grad(value, logits)
        of_a_negative[num_pos] = float(grad[-1])

    assert of_a_negative[0] == pytest.approx(of_a_negative[12], rel=0.2)
    assert float(loss.usual_positives(roles(6)[0])) == pytest.approx(
        6, rel=0.1
    )


def test_usual_number_of_positives_is_unbiased_and_only_trained() -> None:
    loss = FocalLoss3D(momentum=0.5, loss_weight=1.0)
    logits, (positive, negative) = torch.zeros(1000), roles(8)
    total = (0.75 * 8 + 0.25 * 992) * 0.5**2 * np.log(2)

    first = loss(logits, positive, negative)
    second = loss(logits, *roles(4))  # (8 / 4 + 4 / 2) / (1 / 4 + 1 / 2)
    loss.eval()
    third = loss(logits, positive, negative)  # a window of its own
    assert float(loss(logits, *roles(0))) == pytest.approx(
        0.25 * 1000 * 0.5**2 * np.log(2)
    )
    state = loss.state_dict()

    assert float(first) == pytest.approx(total / 8)
    assert float(third) == pytest.approx(total / 8)
    assert float(second) < float(first) * 8 / (16 / 3)
    resumed = FocalLoss3D(momentum=0.5, loss_weight=1.0)
    resumed.load_state_dict(state)
    assert torch.equal(
        resumed(logits, positive, negative),
        loss.train()(logits, positive, negative),
    )


def test_ignored_anchors_have_no_focal_loss() -> None:
    logits = torch.zeros(1000, requires_grad=True)
    positive, _ = roles(8)
    negative = torch.arange(1000) >= 500

    FocalLoss3D()(logits, positive, negative).backward()

    assert (logits.grad[:8] < 0).all() and (logits.grad[500:] > 0).all()
    assert not logits.grad[8:500].any()


def test_box_loss_is_a_mean_over_boxes_and_a_sum_over_coordinates() -> None:
    deltas = torch.zeros(2, 6)
    deltas[0, 0], deltas[1, 0], deltas[0, 3] = 3.0, 0.5, 1.0
    targets = torch.zeros(2, 6)

    loss = SmoothL1BoxLoss()(deltas, targets)
    sharp = SmoothL1BoxLoss(beta=0.5)(deltas, targets)

    # beta 1: 3 - 0.5, 0.5 * 0.5^2 and 1 - 0.5; beta 0.5: |d| - 0.25
    assert float(loss) == pytest.approx((2.5 + 0.125 + 0.5) / 2)
    assert float(sharp) == pytest.approx((2.75 + 0.25 + 0.75) / 2)


def test_loss_weight_is_a_factor_of_every_loss() -> None:
    logits = torch.tensor([1.0, -2.0, 0.5])
    positive = torch.tensor([True, False, False])
    rows, labels = torch.randn(3, 2), torch.tensor([0, 1, 1])
    inputs = {
        HardNegativeBCE: (logits, positive, ~positive),
        FocalLoss3D: (logits, positive, ~positive),
        SmoothL1BoxLoss: (torch.randn(3, 6), torch.randn(3, 6)),
        BalancedCrossEntropy: (rows, labels),
    }

    for loss, args in inputs.items():
        one = loss(loss_weight=1.0)(*args)
        torch.testing.assert_close(loss(loss_weight=3.0)(*args), 3 * one)
        assert one > 0
