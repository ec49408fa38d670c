"""The configs of a training and a test: a config, and what was asked for.

Each function returns a new config and leaves the given one as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from lungdet.apis.evaluators import froc_metric, metrics_of_test
from lungdet.engine.checkpoint import resolve_checkpoint
from lungdet.engine.ensemble import ensemble_config
from lungdet.errors import ConfigError

# parts of a config that a test does not use
OF_TRAINING = (
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_dataloader',
    'val_cfg',
    'val_evaluator',
)


def run_config(
    config: Config,
    work_dir: str | Path,
    *,
    launcher: str = 'none',
    verbose: bool = False,
) -> Config:
    """A config with where it runs, and what it prints.

    Args:
        config: Loaded.
        work_dir: Folder of its logs.
        launcher: Starts its processes, as mmengine names it.
        verbose: Print everything that is logged, also if the config does not
            say so.
    """
    config = copy.deepcopy(config)
    config.work_dir = str(work_dir)
    config.launcher = launcher
    config.verbose = verbose or config.get('verbose', False)
    return config


def training_config(
    config: Config,
    *,
    amp: bool = False,
    resume: str | Path | None = None,
    new_schedule: bool = False,
    scale_lr: bool = False,
) -> Config:
    """A config with the options of a training, as ``train`` takes them.

    Raises:
        ConfigError: The learning rate is to be scaled, and the config lacks
            ``auto_scale_lr``.
        FileNotFoundError: There is no checkpoint at ``resume``.
    """
    config = copy.deepcopy(config)
    config.resume_with_new_schedule = new_schedule
    if scale_lr:
        if not isinstance(config.get('auto_scale_lr'), dict):
            raise ConfigError(
                'auto_scale_lr: is missing, and --auto-scale-lr needs its '
                'base_batch_size.'
            )
        config.auto_scale_lr.enable = True
    if amp:
        config.optim_wrapper.type = 'BF16OptimWrapper'
        # assigned as a whole: a new ConfigDict copies its values
        test_cfg = config.model.get('test_cfg') or {}
        config.model.test_cfg = {**test_cfg, 'bf16': True}
    if resume is not None:
        config.resume = True
        config.load_from = (
            None if resume == 'auto' else str(resolve_checkpoint(resume))
        )
    return config


def candidates_config(
    config: Config, candidates: Path, diameter_mm: float
) -> Config:
    """A config whose test scores the positions of a list.

    Args:
        config: Loaded.
        candidates: The list, a csv.
        diameter_mm: Side of the box around each position.

    Raises:
        ConfigError: As ``froc_metric``.
    """
    config = copy.deepcopy(config)
    load = {
        'type': 'LoadCandidates',
        'path': str(candidates),
        'diameter_mm': diameter_mm,
    }
    config.test_dataloader.dataset.pipeline.insert(-1, load)
    froc_metric(config)['candidates'] = candidates.name
    return config


def joined_config(config: Config, epochs: Sequence[int]) -> Config:
    """A config whose network is an ensemble of networks like its own.

    Args:
        config: Loaded.
        epochs: The epoch in progress of each.
    """
    config = copy.deepcopy(config)
    members = [config.model.to_dict()] * len(epochs)
    config.model = ensemble_config(members, epochs)
    return config


def results_config(config: Config, weights: Path, out: Path) -> Config:
    """A config that tests weights, writes to a folder, and continues there.

    Without what only a training needs. Metrics other than the FROC store
    nothing per scan, so with them all scans are tested again.

    Args:
        config: Loaded.
        weights: The checkpoint.
        out: Folder of the results.

    Raises:
        ConfigError: As ``froc_metric``.
    """
    config = copy.deepcopy(config)
    config.load_from = str(weights)
    froc_metric(config)['out_dir'] = str(out)
    if len(metrics_of_test(config)) == 1:
        config.test_dataloader.dataset.skip_done = str(out / 'scans')
    for key in OF_TRAINING:
        config.pop(key, None)
    # averaged weights are already in the file's state_dict
    config.custom_hooks = [
        hook
        for hook in config.get('custom_hooks') or []
        if hook['type'] != 'EMAHook'
    ]
    return config
