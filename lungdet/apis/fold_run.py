"""One run: train on everything but a fold, then test on the fold."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lungdet.apis.folds import Fold, Records, prepared_records
from lungdet.apis.run import test, train
from lungdet.datasets.folds import patients_of
from lungdet.engine.checkpoint import CheckpointMeta, read_checkpoint
from lungdet.engine.run_manifest import (
    RunManifest,
    RunStart,
    claim_folder,
    values_digest,
)
from lungdet.errors import ConfigError
from lungdet.evaluation import ScoredScan
from lungdet.io.digests import sha256_of
from lungdet.report.evaluation_files import read_scan


def run_fold(
    config: Config,
    fold: Fold,
    folder: str | Path,
    *,
    amp: bool = False,
    pretraining: str | None = None,
) -> RunStart:
    """Train on everything but a fold and test on it.

    A finished run is reused; an interrupted one resumes.

    Args:
        config: Loaded; not changed.
        fold: What is tested.
        folder: Folder for ``train`` and ``test``, each with its manifest.
        amp: bfloat16 in training.
        pretraining: Digest of the pre-training that it starts from.

    Returns:
        The start of its training.

    Raises:
        ConfigError: The folder belongs to another config, fold, pre-training
            or to other cases, or has a training without a recorded start, or
            a test series or patient was trained on.
    """
    train_dir, test_dir = Path(folder) / 'train', Path(folder) / 'test'
    config = fold_config(config, fold, root_of_test(config))
    identity = {
        'fold': fold.name,
        'test_series': list(fold.test_series),
        'val_series': list(fold.val_series),
        'config': config_digest(config, amp, pretraining),
        'cases': cases_digest(config),
        'pretraining': pretraining,
    }
    start = claim_folder(train_dir, identity).start
    tested = RunManifest.read(test_dir)
    if start is not None and tested is not None and tested.metrics is not None:
        return start
    train(config, work_dir=train_dir, amp=amp, resume='auto')
    start = claim_folder(train_dir, identity).start
    if start is None:
        raise ConfigError(
            f'{train_dir}: holds checkpoints, and nothing there says what '
            'they started from. Choose another folder, or remove this one.'
        )
    best = train_dir / 'best.pth'  # exists only if the config validates
    checkpoint = best if best.is_file() else train_dir
    meta = CheckpointMeta.of(read_checkpoint(checkpoint), checkpoint)
    trained = {*start.train_series, *meta.scans.series}
    check_untrained(fold, trained, prepared_records(config))
    test(config, checkpoint, out=test_dir)
    return start


def fold_config(config: Config, fold: Fold, data_root: str | Path) -> Config:
    """A copy of a config with its data sets split by the fold.

    Args:
        config: Loaded.
        fold: What is tested.
        data_root: Folder of the fold's scans; data sets of another folder
            keep their split.
    """
    config = copy.deepcopy(config)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name)
        if loader is None or loader.dataset.get('data_root') != str(data_root):
            continue
        loader.dataset.test_series = list(fold.test_series)
        loader.dataset.val_series = list(fold.val_series)
    return config


def root_of_test(config: Config) -> str:
    """Folder of the scans that a config tests on."""
    return str(config.test_dataloader.dataset.data_root)


def config_digest(
    config: Config, amp: bool, pretraining: str | None = None
) -> str:
    """Digest of everything that defines a training.

    The scoring of detections is left out, since it can be repeated. The path
    of pre-trained weights is left out if ``pretraining``, their digest, is
    known, which is compared separately.
    """
    content = config.to_dict()
    content.pop('test_evaluator', None)
    if pretraining is not None:
        del content['pretrained']['weights']
    return values_digest([content, amp])


def cases_digest(config: Config) -> str:
    """Digest of the prepared cases of all data sets of a config."""
    indices = [
        Path(root, 'index.json') for root in _data_roots(config.to_dict())
    ]
    return values_digest(
        [sha256_of(one) if one.is_file() else None for one in indices]
    )


def _data_roots(values: Any) -> list[str]:
    """Every ``data_root`` in nested values, sorted."""
    if isinstance(values, Mapping):
        roots = {root for v in values.values() for root in _data_roots(v)}
        if values.get('data_root'):
            roots.add(str(values['data_root']))
        return sorted(roots)
    if isinstance(values, list | tuple):
        return sorted(
            {root for value in values for root in _data_roots(value)}
        )
    return []


def check_untrained(
    fold: Fold, trained: Collection[str], records: Records
) -> None:
    """Compare the scans of a training with those of its test.

    Args:
        fold: What is tested.
        trained: Series uids that were trained on.
        records: Prepared scans, which know their patients.

    Raises:
        ConfigError: A series or a patient is in both.
    """
    series = set(trained) & set(fold.test_series)
    prepared = [uid for uid in trained if uid in records]
    patients = {*patients_of(records, prepared)} & {
        *patients_of(records, fold.test_series)
    }
    if series or patients:
        what = (
            f'series {min(series)}' if series else f'patient {min(patients)}'
        )
        raise ConfigError(
            f'fold {fold.name}: {what} was trained on and would be tested; '
            'the figure would mean nothing. Train the fold again.'
        )


def read_tested_scans(fold: Fold, folder: str | Path) -> dict[str, ScoredScan]:
    """The scans that ``run_fold`` tested, in the fold's order."""
    test_dir = Path(folder) / 'test'
    return {uid: read_scan(test_dir, uid) for uid in fold.test_series}
