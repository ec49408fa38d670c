"""Training and testing of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lungdet.apis.config import load_config
from lungdet.apis.evaluators import froc_metric, metrics_of_test
from lungdet.engine import LungRunner
from lungdet.engine.checkpoint import (
    numbered_checkpoints,
    resolve_checkpoint,
    write_checkpoint,
)
from lungdet.engine.ensemble import ensemble_config, join_checkpoints
from lungdet.engine.loader_workers import worker_errors
from lungdet.engine.run_manifest import RunManifest, values_digest
from lungdet.engine.screen import say, shown
from lungdet.errors import ConfigError
from lungdet.geometry import UNKNOWN_DIAMETER_MM
from lungdet.io.atomic import check_writable
from lungdet.io.digests import sha256_of
from lungdet.io.luna16 import read_candidates

ENSEMBLE = 'ensemble.pth'  # of a test with several checkpoints


def train(
    config: str | Path | Config,
    *,
    work_dir: str | Path | None = None,
    amp: bool = False,
    resume: str | Path | None = None,
    new_schedule: bool = False,
    scale_lr: bool = False,
    compile_backbone: bool = False,
    cfg_options: dict[str, Any] | None = None,
    launcher: str = 'none',
    verbose: bool = False,
) -> LungRunner:
    """Train a config.

    Args:
        config: Path of a config, or a loaded one.
        work_dir: For checkpoints and logs; default work_dirs/<config name>.
        amp: bfloat16 in the backbone, in training and validation.
        resume: ``'auto'`` continues if there is a checkpoint, a path from that
            one.
        new_schedule: A resumed training uses the learning rate, optimiser,
            schedulers, batch and seed of the config, and keeps weights,
            position and the optimiser's state. Otherwise a config that
            differs in one of them from the checkpoint is an error.
        scale_lr: Multiply the learning rate by the batch of all processes
            over the config's ``auto_scale_lr.base_batch_size``.
        compile_backbone: By ``torch.compile``; the shapes of heads change.
        cfg_options: Values by dotted key.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        verbose: Print everything that is logged, not only the progress.

    Returns:
        The runner after training.

    Raises:
        ConfigError: ``work_dir`` has checkpoints of another run, which would
            be pruned.
    """
    cfg = load_config(config, cfg_options)
    cfg.work_dir = str(
        work_dir
        or cfg.get('work_dir')
        or Path('work_dirs') / Path(str(cfg.filename)).stem
    )
    cfg.launcher = launcher
    cfg.verbose = verbose or cfg.get('verbose', False)
    if scale_lr:
        cfg.auto_scale_lr.enable = True
    cfg.resume_with_new_schedule = new_schedule
    _set_amp(cfg, amp)
    _set_resume(cfg, resume)
    _check_work_dir(cfg)
    check_writable(cfg.work_dir, 'the checkpoints')
    runner = LungRunner.from_cfg(cfg)
    if compile_backbone:
        runner.bare_model.backbone.compile()
    with worker_errors():
        runner.train()
    return runner


def _set_amp(cfg: Config, amp: bool) -> None:
    if amp:
        cfg.optim_wrapper.type = 'BF16OptimWrapper'
        # assigned as a whole: a new ConfigDict copies its values
        cfg.model.test_cfg = {**cfg.model.get('test_cfg', {}), 'bf16': True}


def _set_resume(cfg: Config, resume: str | Path | None) -> None:
    if resume is not None:
        cfg.resume = True
        cfg.load_from = (
            None if resume == 'auto' else str(resolve_checkpoint(resume))
        )


def _check_work_dir(cfg: Config) -> None:
    """Refuse a folder whose checkpoints a new run would replace."""
    folder = Path(cfg.work_dir).resolve()
    start = cfg.get('load_from')
    continues = cfg.get('resume') and (
        start is None or Path(start).resolve().parent == folder
    )
    earlier = numbered_checkpoints(folder)
    if earlier and not continues:
        raise ConfigError(
            f'{cfg.work_dir}: holds checkpoints of an earlier run '
            f'({earlier[-1].name}), which this one would replace. Continue '
            'it with --resume, or choose another --work-dir.'
        )


def test(
    config: str | Path | Config,
    checkpoint: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    cfg_options: dict[str, Any] | None = None,
    candidates: str | Path | None = None,
    diameter_mm: float = UNKNOWN_DIAMETER_MM,
    launcher: str = 'none',
    verbose: bool = False,
) -> dict[str, float]:
    """Test a checkpoint on the config's test scans.

    If candidates are given, the RoI head scores them instead of searching
    (LUNA16's second track).

    Args:
        config: Path of a config, or a loaded one.
        checkpoint: File, work folder, or ``last_checkpoint``; several become
            an ``EnsembleDetector``, which is stored in ``out``.
        out: Folder for the results; finished scans are skipped.
        cfg_options: Values by dotted key.
        candidates: A csv of positions to score.
        diameter_mm: Side of the box around each of them.
        launcher: As in ``train``.
        verbose: As in ``train``.

    Returns:
        Metrics by name.

    Raises:
        CheckpointError: Weights of another model, window or spacing, or that
            were trained on test scans.
        ConfigError: ``out`` has results of other weights, settings or cases.
    """
    cfg = load_config(config, cfg_options)
    kind = 'test' if candidates is None else 'candidates'
    out = Path(out or Path('work_dirs') / Path(str(cfg.filename)).stem / kind)
    if candidates is not None:
        _give_candidates(cfg, Path(candidates), diameter_mm)
    cfg.work_dir = str(out / 'log')
    cfg.launcher = launcher
    cfg.verbose = verbose or cfg.get('verbose', False)
    if isinstance(checkpoint, str | Path):
        checkpoint = [checkpoint]
    files = [resolve_checkpoint(one) for one in checkpoint]
    check_writable(out, 'the results')
    joined = _join(cfg, files) if len(files) > 1 else None
    manifest = _results_manifest(out, cfg, files, candidates)
    _give_weights(cfg, files[0], joined, out)
    _give_folder(cfg, out)
    _drop_training(cfg)
    runner = LungRunner.from_cfg(cfg)
    with worker_errors():
        metrics = runner.test()
    if not runner.rank:
        replace(manifest, metrics=metrics).write(out)
        say(f'table, marks and curve: {shown(out)}')
    return metrics


def _drop_training(cfg: Config) -> None:
    """Remove what a test does not need."""
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


def _give_candidates(cfg: Config, path: Path, diameter_mm: float) -> None:
    """Let the test score the positions of a list."""
    if path.exists() and not path.is_file():
        raise ConfigError(
            f'candidates: {path} is not a file; the list is read once more '
            'for every process, so write it to a file.'
        )
    read_candidates(path)  # an invalid list raises here, before any scan
    cfg.test_dataloader.dataset.pipeline.insert(
        -1,
        {
            'type': 'LoadCandidates',
            'path': str(path),
            'diameter_mm': diameter_mm,
        },
    )
    froc_metric(cfg)['candidates'] = path.name


def _give_folder(cfg: Config, out: Path) -> None:
    """Let the test write its results to a folder, and continue there.

    Other metrics in the list store nothing per scan, so with them all scans
    are tested again.
    """
    froc_metric(cfg)['out_dir'] = str(out)
    if len(metrics_of_test(cfg)) == 1:
        cfg.test_dataloader.dataset.skip_done = str(out / 'scans')


def _join(cfg: Config, files: Sequence[Path]) -> dict[str, Any]:
    """Make the network an ensemble, and join the checkpoints."""
    joined = join_checkpoints(files)
    member = cfg.model.to_dict()
    epochs = joined['meta']['model']['epochs']
    cfg.model = ensemble_config([member] * len(files), epochs)
    return joined


def _give_weights(
    cfg: Config, file: Path, joined: dict[str, Any] | None, out: Path
) -> None:
    """Let the test load a checkpoint, or the joined ones of an ensemble."""
    if joined is not None:
        file = out / ENSEMBLE
        write_checkpoint(file, joined)
    cfg.load_from = str(file)


def _results_manifest(
    out: Path,
    cfg: Config,
    files: Sequence[Path],
    candidates: str | Path | None,
) -> RunManifest:
    """Write the manifest of a folder of results.

    Raises:
        ConfigError: It has scans that were tested differently, or an invalid
            manifest.
    """
    dataset = cfg.test_dataloader.dataset
    index = Path(dataset.data_root) / 'index.json'
    manifest = RunManifest(
        {
            'checkpoint': sha256_of(files[0])
            if len(files) == 1
            else values_digest([sha256_of(file) for file in files]),
            'model': values_digest(cfg.model.to_dict()),
            'pipeline': values_digest(dataset.pipeline),
            'cases': sha256_of(index) if index.is_file() else None,
            'candidates': candidates and sha256_of(candidates),
        }
    )
    stored = RunManifest.read(out)
    if any(out.glob('scans/*.json')):  # a test that failed early leaves none
        _check_same_results(out, stored, manifest)
    manifest.write(out)
    return manifest


def _check_same_results(
    out: Path, stored: RunManifest | None, manifest: RunManifest
) -> None:
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
