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
from lungdet.io.case_store import rebuild_index
from lungdet.registry import MODELS
from tests.datasets.stores import write_cubes

NO_VALIDATION = {
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
}
STAYING_WORKERS = {
    'train_dataloader.num_workers': 2,
    '+train_dataloader.persistent_workers': True,
}
TWO_FOLDERS = """
_base_ = ['{config}']
train_dataloader = dict(
    sampler=dict(type='MixSampler'),
    dataset=dict(
        _delete_=True,
        type='ConcatCases',
        datasets=[
            dict(type='LUNA16Dataset', test_subsets=(9, ), val_subsets=(),
                 {first}),
            dict(type='LUNA16Dataset', data_root='{other}', test_subsets=(),
                 val_subsets=(), {second}),
        ]))
"""


def write_two_folders_config(
    config: Path, folder: Path, first: str, second: str, more: str = ''
) -> Path:
    """A config that trains on another folder of cases too.

    Args:
        config: The config that it derives from.
        folder: Gets the cases and the config.
        first: Arguments of the dataset of ``config``'s own cases.
        second: Arguments of that of the others.
        more: Further lines.
    """
    other = folder / 'other'
    write_cubes(other, '7.1', 9, 'P')
    rebuild_index(other)
    path = folder / 'two_folders.py'
    text = TWO_FOLDERS.format(
        config=config, other=other, first=first, second=second
    )
    path.write_text(text + more)
    return path


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
    """The meta of a checkpoint without a training."""
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
