from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lungdet.models import HardNegativeBCE
from lungdet.models.losses import (
    balanced_cross_entropy,
    smooth_l1_per_coordinate,
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


def test_background_alone_gives_the_second_stage_no_box_loss() -> None:
    """Published: an undefined list."""
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    none = torch.zeros(0, 6, requires_grad=True)

    cls = balanced_cross_entropy(logits, torch.zeros(2, dtype=torch.long))
    box = smooth_l1_per_coordinate(none, torch.zeros(0, 6))
    (cls + box).backward()

    wanted = (np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2
    assert float(cls.detach()) == pytest.approx(wanted)
    assert float(box.detach()) == 0
