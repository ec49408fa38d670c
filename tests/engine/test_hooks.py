"""Hooks of every training."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import train
from lungdet.errors import DivergenceError


def test_non_finite_loss_stops_with_the_samples(
    tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError, match=r'loss_rpn_cls.*1\.\d epoch'):
        train(
            tiny_config,
            work_dir=tmp_path / 'w',
            cfg_options={
                'optim_wrapper.optimizer.lr': 1e30,
                'optim_wrapper.clip_grad': None,
            },
        )
