"""Config and overrides to a run."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from lungdet.engine import LungRunner
from lungdet.engine.hooks import own_checkpoints
from lungdet.engine.run_manifest import RunManifest, digest_of
from lungdet.engine.weights import resolve_checkpoint
from lungdet.errors import ConfigError
from lungdet.geometry import UNKNOWN_DIAMETER_MM
from lungdet.io.luna16 import read_candidates, sha256_of
from lungdet.registry import FUNCTIONS, did_you_mean

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HANDED_OVER = ('data_root', 'test_series', 'val_series')
PIPELINES = ('pipeline', 'train_pipeline', 'val_pipeline', 'test_pipeline')
# top-level keys of a config besides the Runner's arguments
OWN_KEYS = (
    *HANDED_OVER,
    *PIPELINES,
    'allow_seen_test',
    'auto_scale_lr',
    'custom_imports',
    'plugins',
    'pretrained',
)
LOADER_KEYS = {
    *inspect.signature(DataLoader).parameters,
    'disable_subprocess_warning',
    'num_batch_per_epoch',
}
# keys of the tables that mmengine reads without comparing them
TABLE_KEYS = {
    **dict.fromkeys(LOADERS, LOADER_KEYS),
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'randomness': {'deterministic', 'diff_rank_seed', 'seed'},
    'default_hooks': {
        'checkpoint',
        'logger',
        'param_scheduler',
        'runtime_info',
        'sampler_seed',
        'timer',
    },
    'optim_wrapper.clip_grad': {
        'clip_value',
        'error_if_nonfinite',
        'foreach',
        'max_norm',
        'norm_type',
        'type',
    },
}


def load_config(
    config: str | Path | Config, cfg_options: dict[str, Any] | None = None
) -> Config:
    """Read a config and change values of it.

    ``data_root``, ``test_series`` and ``val_series`` at the top level are
    handed to every dataset; the model's window to those that scale crops
    themselves; and the size of the training crops to the model, which warns
    of windows that differ.

    Args:
        config: Path of a config, or a loaded one: it is left as it is, and
            what its data sets were given since stays.
        cfg_options: Values by dotted key.

    Raises:
        FileNotFoundError: No such file.
        ConfigError: A file that cannot be read as a config; a top-level key
            that nothing reads, unless it starts with ``_``; an unknown key
            in one of ``TABLE_KEYS``, or function of a loader; an option
            whose key the config does not have, unless it starts with ``+``,
            which adds it; or weights in an ``init_cfg``.
    """
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    else:
        cfg = _read_config(Path(config))
    options = {}
    for key, value in (cfg_options or {}).items():
        if not key.startswith('+'):
            _check_key(cfg, key)
        options[key.lstrip('+')] = value
    cfg.merge_from_dict(options)
    _check_tables(cfg)
    fresh = not isinstance(config, Config)
    for dataset in [cfg[k].dataset for k in LOADERS if cfg.get(k)]:
        for key in HANDED_OVER:
            if cfg.get(key) is not None and (fresh or key in options):
                dataset[key] = cfg[key]
        if 'window' in dataset:
            dataset.window = cfg.model.data_preprocessor.window
    _tell_crop_size(cfg)
    _check_start(cfg.get('model'), 'model')
    return cfg


def _check_tables(config: Config) -> None:
    for place, known in TABLE_KEYS.items():
        table: Any = config
        for word in place.split('.'):
            table = (table or {}).get(word)
            if not isinstance(table, dict | None):
                raise ConfigError(
                    f'{place}: {word}={table!r} is no dict of keys.'
                )
        for key in (table or {}).keys() - known:
            more = ' More belong in custom_hooks.' if 'hooks' in place else ''
            raise ConfigError(
                f'{place}: {key!r} is none of its keys'
                f'{did_you_mean(key, known)}. They are '
                f'{", ".join(sorted(known))}.{more}'
            )
    for place in LOADERS:
        for key in ('collate_fn', 'worker_init_fn'):
            function = (config.get(place) or {}).get(key)
            # a whole path, 'package.module.name', is imported
            if isinstance(function, dict) and '.' not in str(function['type']):
                FUNCTIONS.check_type(function, f'{place}.{key}.type')
                FUNCTIONS.check_arguments(function)


def _check_start(model: Any, where: str) -> None:
    """Refuse weights that would be loaded without being compared."""
    if isinstance(model, dict):
        if where.endswith('init_cfg') and model.get('type') == 'Pretrained':
            raise ConfigError(
                f'{where}: weights loaded here are not compared with window, '
                'spacing, plugins and test scans. Start a backbone from '
                'pre-training by pretrained=dict(weights=..., config=...), a '
                'detector from a checkpoint by load_from.'
            )
        for key, value in model.items():
            _check_start(value, f'{where}.{key}')
    elif isinstance(model, list | tuple):
        for value in model:
            _check_start(value, where)


def _read_config(path: Path) -> Config:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such config; check the path.')
    try:
        config = Config.fromfile(str(path))
    except Exception as error:
        raise ConfigError(
            f'{path}: cannot be read as a config '
            f'({type(error).__name__}: {error}).'
        ) from error
    known = {*inspect.signature(Runner.__init__).parameters, *OWN_KEYS}
    for key in config.keys() - known:
        if not key.startswith('_'):
            raise ConfigError(
                f'{path}: nothing reads the key {key!r}'
                f'{did_you_mean(key, known)}. Begin the name of a value that '
                'the config alone uses with "_".'
            )
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
        where = '.'.join(key.split('.')[:depth]) or 'the config'
        raise ConfigError(
            f'--cfg-options {key}: {where} has no key {word!r}'
            f'{did_you_mean(word, known)}. Put a "+" in front to add it.'
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

    Raises:
        ConfigError: ``work_dir`` holds checkpoints of a run that is not
            continued: they would be pruned.
    """
    cfg = load_config(config, cfg_options)
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
    folder = Path(cfg.work_dir).resolve()
    start = cfg.get('load_from')
    goes_on = cfg.get('resume') and (
        start is None or Path(start).resolve().parent == folder
    )
    earlier = own_checkpoints(folder)
    if earlier and not goes_on:
        raise ConfigError(
            f'{cfg.work_dir}: holds checkpoints of an earlier run '
            f'({earlier[-1].name}), which this one would replace. Continue '
            'it with --resume, or choose another --work-dir.'
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
    diameter_mm: float = UNKNOWN_DIAMETER_MM,
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

    Raises:
        CheckpointError: Weights of another model, window or spacing, or that
            were trained on test scans.
        ConfigError: ``out`` holds results of other weights, settings or
            cases.
    """
    cfg = load_config(config, cfg_options)
    kind = 'test' if candidates is None else 'candidates'
    out = Path(out or Path('work_dirs') / Path(str(cfg.filename)).stem / kind)
    if candidates is not None:
        _give_candidates(cfg, Path(candidates), diameter_mm)
    cfg.work_dir = str(out / 'log')
    cfg.launcher = launcher
    cfg.load_from = str(resolve_checkpoint(checkpoint))
    manifest = _results_manifest(out, cfg, candidates)
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
    runner = LungRunner.from_cfg(cfg)
    metrics = runner.test()
    if not runner.rank:
        replace(manifest, metrics=metrics).write(out)
    return metrics


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


def _results_manifest(
    out: Path, cfg: Config, candidates: str | Path | None
) -> RunManifest:
    """Write what a folder of results will be of.

    Raises:
        ConfigError: It holds scans that were tested with something else.
    """
    dataset = cfg.test_dataloader.dataset
    index = Path(dataset.data_root) / 'index.json'
    manifest = RunManifest(
        {
            'checkpoint': sha256_of(cfg.load_from),
            'model': digest_of(cfg.model.to_dict()),
            'pipeline': digest_of(dataset.pipeline),
            'cases': sha256_of(index) if index.is_file() else None,
            'candidates': candidates and sha256_of(candidates),
        }
    )
    if any(out.glob('scans/*.json')):  # a test that failed early left none
        _check_same_results(out, manifest)
    manifest.write(out)
    return manifest


def _check_same_results(out: Path, manifest: RunManifest) -> None:
    stored = RunManifest.read(out)
    if stored is None:
        raise ConfigError(
            f'{out}: holds scans, and nothing there says what they were '
            'tested with. Choose another folder by --out, or remove this one.'
        )
    if names := stored.compare(manifest.identity):
        raise ConfigError(
            f'{out}: holds scans that were tested with another '
            f'{", ".join(names)}; their marks would be mixed. Choose another '
            'folder by --out, or remove this one.'
        )
