"""Config and overrides to a run."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lungdet.engine import LungRunner
from lungdet.engine.weights import resolve_checkpoint
from lungdet.errors import ConfigError
from lungdet.io.luna16 import read_candidates

CANDIDATE_MM = 10.0  # LUNA16's rule for a finding without diameter
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(
    path: str | Path, cfg_options: dict[str, Any] | None = None
) -> Config:
    """Read a config and change values of it.

    ``data_root`` at the top level is handed to every dataset; the model's
    window to those that scale crops themselves; and the size of the training
    crops to the model, which warns of windows that differ.

    Raises:
        FileNotFoundError: No such file.
        ConfigError: An option whose key the config does not have; a leading
            ``+`` adds a new key.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such config; check the path.')
    config = Config.fromfile(str(path))
    options = {}
    for key, value in (cfg_options or {}).items():
        if not key.startswith('+'):
            _check_key(config, key)
        options[key.lstrip('+')] = value
    config.merge_from_dict(options)
    datasets = [config[k].dataset for k in LOADERS if config.get(k)]
    for dataset in datasets:
        if 'data_root' in config:
            dataset.data_root = config.data_root
        if 'window' in dataset:
            dataset.window = config.model.data_preprocessor.window
    _tell_crop_size(config)
    return config


def _tell_crop_size(config: Config) -> None:
    if not config.get('train_dataloader') or 'train_cfg' not in config.model:
        return
    for transform in config.train_dataloader.dataset.pipeline:
        if transform['type'] == 'PlaceCrop':
            config.model.train_cfg.setdefault('crop_size', transform['size'])


def _check_key(config: Config, key: str) -> None:
    place: Any = config
    for depth, word in enumerate(key.split('.')):
        if isinstance(place, list | tuple):
            if word.isdigit() and int(word) < len(place):
                place = place[int(word)]
                continue
            known = [str(k) for k in range(len(place))]
        elif hasattr(place, 'keys'):
            if word in place.keys():
                place = place[word]
                continue
            known = [str(k) for k in place.keys()]
        else:
            known = []
        close = difflib.get_close_matches(word, known, n=3)
        hint = f' Did you mean {", ".join(close)}?' if close else ''
        where = '.'.join(key.split('.')[:depth]) or 'the config'
        raise ConfigError(
            f'--cfg-options {key}: {where} has no key {word!r}.{hint} Put a '
            '"+" in front to add a new key.'
        )


def train(
    config: str | Path | Config,
    *,
    work_dir: str | Path | None = None,
    amp: bool = False,
    resume: str | Path | None = None,
    cfg_options: dict[str, Any] | None = None,
    launcher: str = 'none',
) -> LungRunner:
    """Train a config.

    Args:
        config: Path of a config, or a loaded one.
        work_dir: For checkpoints and logs; default work_dirs/<config name>.
        amp: bfloat16 in the backbone, in training and validation.
        resume: ``'auto'`` continues if there is something, a path continues
            from there.
        cfg_options: Values by dotted key.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Returns:
        The runner after training.
    """
    cfg = (
        config
        if isinstance(config, Config)
        else load_config(config, cfg_options)
    )
    cfg.work_dir = str(
        work_dir
        or cfg.get('work_dir')
        or Path('work_dirs') / Path(str(cfg.filename)).stem
    )
    cfg.launcher = launcher
    if amp:
        cfg.optim_wrapper.type = 'BF16OptimWrapper'
        # assigned whole: a new ConfigDict copies what it is given
        cfg.model.test_cfg = {**cfg.model.get('test_cfg', {}), 'bf16': True}
    if resume is not None:
        cfg.resume = True
        cfg.load_from = (
            None if resume == 'auto' else str(resolve_checkpoint(resume))
        )
    runner = LungRunner.from_cfg(cfg)
    runner.train()
    return runner


def test(
    config: str | Path | Config,
    checkpoint: str | Path,
    *,
    out: str | Path | None = None,
    cfg_options: dict[str, Any] | None = None,
    candidates: str | Path | None = None,
    diameter_mm: float = CANDIDATE_MM,
    launcher: str = 'none',
) -> dict[str, float]:
    """Test a checkpoint on the config's test scans.

    Given candidates are scored by the second stage instead of searched for
    (LUNA16's second track).

    Args:
        config: Path of a config, or a loaded one.
        checkpoint: File, work folder, or ``last_checkpoint``.
        out: Folder for the results; scans that are done there are skipped.
        cfg_options: Values by dotted key.
        candidates: A csv of places to score.
        diameter_mm: Side of the box around each of them.
        launcher: As in ``train``.

    Returns:
        Metrics by name.
    """
    cfg = (
        config
        if isinstance(config, Config)
        else load_config(config, cfg_options)
    )
    kind = 'test' if candidates is None else 'candidates'
    out = Path(out or Path('work_dirs') / Path(str(cfg.filename)).stem / kind)
    if candidates is not None:
        _give_candidates(cfg, Path(candidates), diameter_mm)
    cfg.work_dir = str(out / 'log')
    cfg.launcher = launcher
    cfg.load_from = str(resolve_checkpoint(checkpoint))
    cfg.test_evaluator.out_dir = str(out)
    cfg.test_dataloader.dataset.skip_done = str(out / 'scans')
    # averaged weights are already in the file's state_dict
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks', [])
        if hook['type'] != 'EMAHook'
    ]
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        cfg.pop(key, None)
    return LungRunner.from_cfg(cfg).test()


def _give_candidates(cfg: Config, path: Path, diameter_mm: float) -> None:
    """Let the test score the places of a list."""
    read_candidates(path)  # a broken list stops here, before any scan
    cfg.test_dataloader.dataset.pipeline.insert(
        -1,
        {
            'type': 'LoadCandidates',
            'path': str(path),
            'diameter_mm': diameter_mm,
        },
    )
    cfg.test_evaluator.candidates = path.name
