"""Configs of data loaders, completed for mmengine."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch.utils.data import DataLoader

from lungdet.errors import ConfigError
from lungdet.registry import DATASETS, argument_names


def complete_loader(cfg: dict[str, Any], seed: int | None) -> dict[str, Any]:
    """A copy of a loader's config completed with values of the run.

    The seed is passed to the data set if it takes one and has none, and
    ``drop_last`` to a batch sampler; options for workers are left out without
    workers, and pinned memory without a GPU.

    Args:
        cfg: Config of the loader, with a ``dataset``.
        seed: Seed of the run.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.get('num_workers', 0) == 0:
        cfg.pop('persistent_workers', None)
        cfg.pop('prefetch_factor', None)
    if not torch.cuda.is_available():
        cfg.pop('pin_memory', None)
    if cfg.get('batch_sampler') is not None:
        cfg['batch_sampler'].setdefault(
            'drop_last', cfg.pop('drop_last', False)
        )
    dataset = cfg['dataset']
    if seed is not None and isinstance(dataset, dict):
        kind = dataset['type']
        kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        if kind is not None and 'seed' in (argument_names(kind) or ()):
            dataset.setdefault('seed', seed)
    return cfg


def check_batches(loader: DataLoader) -> None:
    """Refuse a data loader that would drop all of its samples.

    Raises:
        ConfigError: Fewer samples than a batch, and ``drop_last``.
    """
    batches: Any = loader.batch_sampler
    if batches.drop_last and not len(loader):
        raise ConfigError(
            f'batch_size: {batches.batch_size}, but there are only '
            f'{len(loader.dataset)} samples for {get_world_size()} '  # type: ignore[arg-type]
            'processes, so no batch would be trained on. Lower '
            'train_dataloader.batch_size, or prepare more scans.'
        )
