"""What the loop reads of a step, it reads at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lungdet.engine import ExactEpochLoop
from tests.pretend_cuda import PretendCuda


def test_losses_are_read_once_for_all_hooks() -> None:
    calls: list[dict[str, Any]] = []
    with PretendCuda() as gpu:
        losses = {
            'loss': torch.full((), 1.5, device='cuda', requires_grad=True),
            'loss_rpn_cls': torch.full((), 0.5, device='cuda'),
        }
        runner = SimpleNamespace(
            call_hook=lambda name, **values: calls.append({name: values}),
            model=SimpleNamespace(train_step=lambda batch, **_: losses),
            optim_wrapper=None,
        )
        loop = ExactEpochLoop.__new__(ExactEpochLoop)
        vars(loop).update({'_runner': runner, '_iter': 3})

        loop.run_iter(0, [])

    (outputs,) = (
        call['after_train_iter']['outputs']
        for call in calls
        if 'after_train_iter' in call
    )
    assert outputs == {'loss': 1.5, 'loss_rpn_cls': 0.5}
    assert all(isinstance(value, float) for value in outputs.values())
    assert gpu.waits == ['tolist'] and loop.iter == 4
    assert pytest.approx(float(losses['loss'].detach())) == 1.5
