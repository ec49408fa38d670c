from __future__ import annotations

import pytest
import torch

from lungdet.models.losses import L1Loss, MSELoss, RestorationLoss
from lungdet.registry import MODELS

RESTORED = torch.tensor([0.0, 0.5, 1.0, 0.2])
TARGET = torch.tensor([0.5, 0.5, 0.0, 0.0])
REGION = torch.tensor([True, False, True, False])


@pytest.mark.parametrize(
    ('loss', 'everywhere', 'inside'),
    [
        # |errors| 0.5, 0, 1, 0.2; squares 0.25, 0, 1, 0.04
        (L1Loss(), 1.7 / 4, 1.5 / 2),
        (MSELoss(), 1.29 / 4, 1.25 / 2),
        (L1Loss(loss_weight=3.0), 3 * 1.7 / 4, 3 * 1.5 / 2),
    ],
)
def test_losses_over_all_and_over_a_region(
    loss: RestorationLoss, everywhere: float, inside: float
) -> None:
    assert loss(RESTORED, TARGET) == pytest.approx(everywhere)
    assert loss(RESTORED, TARGET, REGION) == pytest.approx(inside)
    assert loss(RESTORED, TARGET, REGION & False) == 0


def test_weights_count_as_often_as_their_number() -> None:
    weights = torch.tensor([1.0, 1.0, 3.0, 0.0])

    # errors 0.5, 0, 1, 0.2: (0.5 + 3 * 1) / 5
    loss = L1Loss()(RESTORED, TARGET, weights)
    assert loss.item() == pytest.approx(3.5 / 5)


def test_losses_come_from_a_config() -> None:
    assert MODELS.build({'type': 'L1Loss'}).kind == 'l1'
    loss = MODELS.build({'type': 'MSELoss', 'loss_weight': 2.0})
    assert (loss.kind, loss.loss_weight) == ('mse', 2.0)
