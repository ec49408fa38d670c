"""Options and parts that several tests of runs share."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from lungdet.apis import load_config
from lungdet.engine import export_backbone, read_backbone
from lungdet.engine.checkpoint import CheckpointMeta
from lungdet.engine.input_contract import InputContract
from lungdet.engine.training_scans import TrainingScans
from lungdet.registry import MODELS

NO_VALIDATION = {
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
}


def detector(config: Path, weights: Path, **options: object) -> Config:
    return load_config(
        config,
        {
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            '+pretrained': {'weights': str(weights), 'config': 'genesis.py'},
            **options,
        },
    )


def rewrite(weights: Path, target: Path, **changes: object) -> Path:
    """The same tensors with another provenance."""
    tensors, provenance = read_backbone(weights)
    export_backbone(target, tensors, {**provenance, **changes})
    return target


def make_meta(**values: object) -> CheckpointMeta:
    """Of a checkpoint of no training."""
    defaults = {
        'epoch': 1,
        'iter': 5,
        'epoch_in_progress': 1,
        'epoch_length': 5,
        'seed': 0,
        'schedule': {},
        'val_owed': False,
        'model': {'type': 'NoduleNet', 'backbone': {'type': 'FeatureNet'}},
        'imports': [],
        'input_contract': InputContract((-1200, 600), (-1, 1), 1.0),
        'scans': TrainingScans(('a',)),
    }
    return CheckpointMeta(**{**defaults, **values})


@MODELS.register_module(force=True)
class ConstantHead(nn.Module):
    """Collapsed from the start: restores one number."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.5))

    def set_mean(self, mean: Tensor) -> None:
        self.value.data.copy_(mean)

    def forward(self, comb2: Tensor) -> Tensor:
        shape = [comb2.shape[0], 1, *(4 * side for side in comb2.shape[2:])]
        return self.value.expand(shape) + 0 * comb2.mean()
