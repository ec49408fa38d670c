"""One run: train on everything but a fold, then test on the fold."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path

from mmengine.config import Config

from lungdet.apis.folds import Fold, Records, prepared_records
from lungdet.apis.run import test, train
from lungdet.datasets.folds import patients_of
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.run_manifest import (
    RunManifest,
    RunStart,
    claim_folder,
    digest_of,
)
from lungdet.errors import ConfigError
from lungdet.evaluation import ScoredScan
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

    A run that is done is read back, one that was killed continues.

    Args:
        config: Loaded; left as it is.
        fold: What is tested.
        folder: Gets ``train`` and ``test``, each with its manifest.
        amp: bfloat16 in training.
        pretraining: Digest of what the weights it starts from are made of.

    Returns:
        What its training started from.

    Raises:
        ConfigError: The folder holds a run of another config, fold or
            pre-training, or a training without a start, or a tested series
            or patient was trained on.
    """
    train_dir, test_dir = Path(folder) / 'train', Path(folder) / 'test'
    config = fold_config(config, fold)
    identity = {
        'fold': fold.name,
        'test_series': list(fold.test_series),
        'val_series': list(fold.val_series),
        'config': config_digest(config, amp, pretraining),
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
    best = train_dir / 'best.pth'  # only if the config validates
    checkpoint = best if best.is_file() else train_dir
    trained = {
        *start.train_series,
        *read_checkpoint(checkpoint)['meta']['train_series'],
    }
    check_untrained(fold, trained, prepared_records(config))
    test(config, checkpoint, out=test_dir)
    return start


def fold_config(config: Config, fold: Fold) -> Config:
    """A copy of a config whose data sets are split as the fold says."""
    config = copy.deepcopy(config)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(name) is not None:
            config[name].dataset.test_series = list(fold.test_series)
            config[name].dataset.val_series = list(fold.val_series)
    return config


def config_digest(
    config: Config, amp: bool, pretraining: str | None = None
) -> str:
    """Digest of everything that makes a training what it is.

    How the detections are scored is left out: that can be done again. The
    path of pre-trained weights is left out if ``pretraining``, the digest of
    what they are made of, is known; it is compared by itself.
    """
    content = config.to_dict()
    content.pop('test_evaluator', None)
    if pretraining is not None:
        del content['pretrained']['weights']
    return digest_of([content, amp])


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
