"""Training and testing of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lungdet.apis.config import load_config
from lungdet.apis.config_values import check_training_parts
from lungdet.apis.run_config import (
    candidates_config,
    joined_config,
    results_config,
    run_config,
    training_config,
)
from lungdet.engine import LungRunner
from lungdet.engine.checkpoint import (
    numbered_checkpoints,
    resolve_checkpoint,
    write_checkpoint,
)
from lungdet.engine.ensemble import join_checkpoints
from lungdet.engine.loader_workers import worker_errors
from lungdet.engine.plain_values import plain
from lungdet.engine.run_manifest import RunManifest, values_digest
from lungdet.engine.screen import say, shown
from lungdet.errors import ConfigError
from lungdet.geometry import UNKNOWN_DIAMETER_MM
from lungdet.io.atomic import check_writable
from lungdet.io.digests import sha256_of
from lungdet.io.luna16 import read_candidates
from lungdet.registry import build_model

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
            be pruned; or a part that ``check_training_parts`` refuses.
    """
    cfg = load_config(config, cfg_options)
    check_training_parts(cfg)
    folder = work_dir or cfg.get('work_dir') or _default_folder(cfg)
    cfg = run_config(cfg, folder, launcher=launcher, verbose=verbose)
    cfg = training_config(
        cfg,
        amp=amp,
        resume=resume,
        new_schedule=new_schedule,
        scale_lr=scale_lr,
    )
    _check_work_dir(cfg)
    check_writable(cfg.work_dir, 'the checkpoints')
    runner = LungRunner.from_cfg(cfg)
    if compile_backbone:
        runner.bare_model.backbone.compile()
    with worker_errors():
        runner.train()
    return runner


def check_training(config: Config) -> None:
    """Refuse a config that ``train`` would refuse before it reads a scan.

    The network is built, nothing else.

    Args:
        config: Loaded.

    Raises:
        ConfigError: A part that ``check_training_parts`` refuses, or a network
            that cannot be built.
    """
    check_training_parts(config)
    build_model(config.model)


def _default_folder(cfg: Config) -> Path:
    return Path('work_dirs') / Path(str(cfg.filename)).stem


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
    out = Path(out or _default_folder(cfg) / kind)
    cfg = run_config(cfg, out / 'log', launcher=launcher, verbose=verbose)
    if candidates is not None:
        _check_candidates(Path(candidates))
        cfg = candidates_config(cfg, Path(candidates), diameter_mm)
    given = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    files = [resolve_checkpoint(one) for one in given]
    joined = join_checkpoints(files) if len(files) > 1 else None
    if joined is not None:
        cfg = joined_config(cfg, joined['meta']['model']['epochs'])
    manifest = _results_manifest(cfg, files, candidates)
    _claim_results(out, manifest)
    weights = files[0]
    if joined is not None:
        weights = out / ENSEMBLE
        write_checkpoint(weights, joined)
    runner = LungRunner.from_cfg(results_config(cfg, weights, out))
    with worker_errors():
        metrics = runner.test()
    if not runner.rank:
        replace(manifest, metrics=metrics).write(out)
        say(f'table, marks and curve: {shown(out)}')
    return metrics


def _check_candidates(path: Path) -> None:
    """Refuse an invalid list before any scan."""
    if path.exists() and not path.is_file():
        raise ConfigError(
            f'candidates: {path} is not a file; the list is read once more '
            'for every process, so write it to a file.'
        )
    read_candidates(path)


def _results_manifest(
    cfg: Config, files: Sequence[Path], candidates: str | Path | None
) -> RunManifest:
    """The manifest of a folder of results, before it has metrics."""
    dataset = cfg.test_dataloader.dataset
    index = Path(dataset.data_root) / 'index.json'
    model = cfg.model.to_dict()
    test_cfg = model.pop('test_cfg', None)
    return RunManifest(
        {
            'checkpoint': sha256_of(files[0])
            if len(files) == 1
            else values_digest([sha256_of(file) for file in files]),
            'model': values_digest(model),
            'test_cfg': plain(test_cfg or {}),
            'pipeline': values_digest(dataset.pipeline),
            'cases': sha256_of(index) if index.is_file() else None,
            'candidates': candidates and sha256_of(candidates),
        }
    )


def _claim_results(out: Path, manifest: RunManifest) -> None:
    """Write the manifest of a folder whose scans were tested likewise.

    Raises:
        ConfigError: It has scans that were tested differently, or an invalid
            manifest.
        OSError: It cannot be written to.
    """
    check_writable(out, 'the results')
    stored = RunManifest.read(out)
    if any(out.glob('scans/*.json')):  # a test that failed early leaves none
        _check_same_results(out, stored, manifest)
    manifest.write(out)


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
