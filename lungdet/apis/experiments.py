"""Folds: train and test each one, resumable, and score all marks at once."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from lungdet.apis.config import load_config
from lungdet.apis.run import test, train
from lungdet.engine.run_manifest import (
    RunManifest,
    RunStart,
    claim_folder,
    digest_of,
)
from lungdet.engine.scan_rows import (
    Row,
    RowScores,
    ScoreOptions,
    score_rows,
    write_scores,
)
from lungdet.engine.weights import load_plain
from lungdet.errors import ConfigError
from lungdet.evaluation import froc_table
from lungdet.io.atomic import write_text
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_column
from lungdet.structures import CaseRecord

SUBSETS = re.compile(r'\d+(-\d+)?(,\d+(-\d+)?)*')
FOLD_NAME = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9._-]*')
MIN_FOLDS = 3  # one to test, one to validate, the rest to train

Records = Mapping[str, CaseRecord]


@dataclass(frozen=True)
class Fold:
    """A part of the scans that is tested by weights which never saw it.

    Attributes:
        name: Names its folder.
        test_series: Series uids of the test.
        val_series: Those a checkpoint is chosen on; may be empty.
    """

    name: str
    test_series: tuple[str, ...]
    val_series: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrossValidation:
    """Figures of all folds.

    Attributes:
        pooled: All scans scored once.
        folds: Name -> the fold's scans alone.
        listed: Prepared scans, tested or not.
    """

    pooled: RowScores
    folds: dict[str, RowScores]
    listed: int

    def text(self) -> str:
        """The pooled figures, and each fold beside them."""
        results = {'pooled': self.pooled.results['fused']}
        labels = [f'...{n[-8:]}' if len(n) > 16 else n for n in self.folds]
        if len(set(labels)) < len(labels):
            labels = list(self.folds)
        results |= {
            f'fold {label}': scores.results['fused']
            for label, scores in zip(labels, self.folds.values())
        }
        lines = [
            self.pooled.text(self.listed),
            froc_table(results, listed=self.listed),
        ]
        parts = [s.results['fused'].cpm for s in self.folds.values()]
        known = [cpm for cpm in parts if cpm is not None]
        if known:
            lines.append(
                f'mean of the CPMs of {len(known)} folds '
                f'{sum(known) / len(known):.3f}; the rule is the pooled one'
            )
        return '\n'.join(lines)


def make_folds(spec: str, records: Records, *, validate: bool) -> list[Fold]:
    """Folds of prepared scans.

    Args:
        spec: Subsets as ``'0-9'`` or ``'3,5'``; ``'series'``, one fold a
            scan (scans of one known patient stay together); or a csv with
            the columns seriesuid and fold.
        records: Prepared scans.
        validate: Keep the next fold for choosing a checkpoint.

    Returns:
        The folds asked for, in order.

    Raises:
        ConfigError: An unknown subset or series, a patient in two folds, or
            too few folds.
    """
    groups = _groups(spec, records)
    names = list(groups)
    _check_patients(groups, records)
    needed = MIN_FOLDS if validate else MIN_FOLDS - 1
    if len(groups) < needed:
        raise ConfigError(
            f'--folds {spec}: {len(groups)} folds among {len(records)} '
            f'prepared scans, at least {needed} are needed to train, '
            f'{"validate " if validate else ""}and test. Prepare more scans'
            f'{", or set val_dataloader=None" if validate else ""}.'
        )
    following = dict(zip(names, names[1:] + names[:1]))
    return [
        Fold(
            name,
            tuple(groups[name]),
            tuple(groups[following[name]]) if validate else (),
        )
        for name in _asked_for(spec, names)
    ]


def _groups(spec: str, records: Records) -> dict[str, list[str]]:
    """Every fold there is: name -> series uids."""
    if spec == 'series':
        labels = _by_patient(records)
    elif SUBSETS.fullmatch(spec):
        labels = {
            uid: str(record.subset)
            for uid, record in records.items()
            if record.subset is not None
        }
    elif Path(spec).is_file():
        labels = _by_table(spec, records)
    else:
        raise ConfigError(
            f'--folds {spec}: neither subsets (0-9), nor "series", nor a csv '
            'with seriesuid and fold; name one of them.'
        )
    groups: dict[str, list[str]] = {}
    for uid in records:
        if uid in labels:
            groups.setdefault(labels[uid], []).append(uid)
    return dict(sorted(groups.items(), key=lambda item: _rank(item[0])))


def _by_patient(records: Records) -> dict[str, str]:
    """One fold a scan, named by it; scans of one patient share a fold."""
    first: dict[str, str] = {}
    return {
        uid: first.setdefault(record.patient_id or uid, uid)
        for uid, record in records.items()
    }


def _by_table(path: str, records: Records) -> dict[str, str]:
    labels = {}
    for uid, folds in read_column(path, 'fold').items():
        if uid not in records:
            raise ConfigError(
                f'{path}: series {uid!r} is not among the {len(records)} '
                'prepared scans; prepare it, or remove the row.'
            )
        if len(set(folds)) > 1 or not FOLD_NAME.fullmatch(folds[0]):
            raise ConfigError(
                f'{path}: series {uid} is in the folds {folds}; a scan is in '
                'one, named by letters, digits, "-", "_" and ".".'
            )
        labels[uid] = folds[0]
    return labels


def _rank(name: str) -> tuple[bool, int, str]:
    """Numbers in their order, then names."""
    return not name.isdigit(), len(name) if name.isdigit() else 0, name


def _asked_for(spec: str, names: Sequence[str]) -> list[str]:
    if not SUBSETS.fullmatch(spec):
        return list(names)
    wanted: list[str] = []
    for part in spec.split(','):
        first, _, last = part.partition('-')
        wanted += map(str, range(int(first), int(last or first) + 1))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(
            f'--folds {spec}: no prepared scan is of subset {missing[0]}; '
            f'there are the subsets {", ".join(names) or "none"}.'
        )
    return wanted


def _check_patients(groups: Mapping[str, list[str]], records: Records) -> None:
    for (one, a), (two, b) in combinations(groups.items(), 2):
        both = _patients(a, records) & _patients(b, records)
        if both:
            raise ConfigError(
                f'patient {sorted(both)[0]} has scans in fold {one} and in '
                f'fold {two}; keep a patient in one fold.'
            )


def _patients(uids: Sequence[str], records: Records) -> set[str]:
    found = (records[uid].patient_id for uid in uids if uid in records)
    return {patient for patient in found if patient}


def run_fold(
    config: str | Path | Config,
    fold: Fold,
    folder: str | Path,
    *,
    amp: bool = False,
    cfg_options: dict[str, Any] | None = None,
    pretraining: str | None = None,
) -> RunStart:
    """Train on everything but a fold and test on it.

    A run that is done is read back, one that was killed continues.

    Args:
        config: Path of a config, or a loaded one.
        fold: What is tested.
        folder: Gets ``train`` and ``test``, each with its manifest.
        amp: bfloat16 in training.
        cfg_options: Values by dotted key.
        pretraining: Digest of what the weights it starts from are made of.

    Returns:
        What its training started from.

    Raises:
        ConfigError: The folder holds a run of another config, fold or
            pre-training, or a training without a start, or a tested series
            or patient was trained on.
    """
    train_dir, test_dir = Path(folder) / 'train', Path(folder) / 'test'
    cfg = fold_config(config, fold, cfg_options)
    identity = {
        'fold': fold.name,
        'test_series': list(fold.test_series),
        'val_series': list(fold.val_series),
        'config': config_digest(cfg, amp, pretraining),
        'pretraining': pretraining,
    }
    start = claim_folder(train_dir, identity).start
    tested = RunManifest.read(test_dir)
    if start is not None and tested is not None and tested.metrics is not None:
        return start
    train(cfg, work_dir=train_dir, amp=amp, resume='auto')
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
        *load_plain(checkpoint)['meta']['train_series'],
    }
    records = CaseStore(cfg.test_dataloader.dataset.data_root).records
    check_untrained(fold, sorted(trained), records)
    test(cfg, checkpoint, out=test_dir)
    return start


def fold_config(
    config: str | Path | Config,
    fold: Fold,
    cfg_options: dict[str, Any] | None = None,
) -> Config:
    """A config whose data sets are split as the fold says."""
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    else:
        cfg = load_config(config, cfg_options)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) is not None:
            cfg[name].dataset.test_series = list(fold.test_series)
            cfg[name].dataset.val_series = list(fold.val_series)
    return cfg


def config_digest(
    cfg: Config, amp: bool, pretraining: str | None = None
) -> str:
    """Of everything but how the marks are scored, which can be done again.

    Where pre-trained weights lie counts only if it is not known what they are
    made of (``pretraining``), which is compared by itself.
    """
    content = cfg.to_dict()
    content.pop('test_evaluator', None)
    if pretraining is not None:
        del content['pretrained']['weights']
    return digest_of([content, amp])


def check_untrained(
    fold: Fold, trained: Sequence[str], records: Records
) -> None:
    """Compare the scans of a training with those of its test.

    Raises:
        ConfigError: They share a series or a patient.
    """
    series = set(trained) & set(fold.test_series)
    patients = _patients(trained, records) & _patients(
        fold.test_series, records
    )
    if series or patients:
        what = (
            f'series {min(series)}' if series else f'patient {min(patients)}'
        )
        raise ConfigError(
            f'fold {fold.name}: {what} was trained on and would be tested; '
            'the figure would mean nothing. Train the fold again.'
        )


def cross_validate(
    config: str | Path,
    folds: str,
    out: str | Path,
    *,
    amp: bool = False,
    cfg_options: dict[str, Any] | None = None,
) -> CrossValidation:
    """Train and test every fold, pool the marks, evaluate once.

    Folds are independent: processes may run some each into one folder, and
    a last call over all of them pools. Every fold starts from the same,
    fresh weights; this is checked.

    Args:
        config: Path of a config.
        folds: As in ``make_folds``.
        out: Gets a folder a fold, and ``pooled``.
        amp: bfloat16 in training.
        cfg_options: Values by dotted key.

    Raises:
        ConfigError: As ``make_folds`` and ``run_fold``, or weights of a fold
            that did not start fresh.
    """
    out = Path(out)
    cfg = load_config(config, cfg_options)
    records = CaseStore(cfg.test_dataloader.dataset.data_root).records
    plan = make_folds(
        folds, records, validate=cfg.get('val_dataloader') is not None
    )
    rows: dict[str, Row] = {}
    parts, starts = {}, {}
    options = score_options(cfg)
    for number, fold in enumerate(plan, start=1):
        folder = out / f'fold_{fold.name}'
        print_log(f'fold {fold.name}: {number} of {len(plan)}', 'current')
        start = run_fold(
            config, fold, folder, amp=amp, cfg_options=cfg_options
        )
        starts[fold.name] = start.weights
        check_fresh(starts)
        mine = tested_rows(fold, folder)
        parts[fold.name] = score_rows(mine, records, options)
        rows |= mine
    found = CrossValidation(
        score_rows(rows, records, options), parts, len(records)
    )
    write_scores(out / 'pooled', rows, found.pooled, listed=len(records))
    write_text(out / 'pooled' / 'folds.txt', found.text() + '\n')
    return found


def score_options(cfg: Config) -> ScoreOptions:
    """How a config's tests are scored."""
    values = dict(cfg.test_evaluator)
    for key in ('type', 'out_dir', 'candidates'):
        values.pop(key, None)
    return ScoreOptions(**values)


def check_fresh(starts: Mapping[str, str]) -> None:
    """Compare what the trainings of folds started from.

    Args:
        starts: Digest of the first weights, by fold.

    Raises:
        ConfigError: They differ.
    """
    first, *others = starts.items()
    for name, weights in others:
        if weights != first[1]:
            raise ConfigError(
                f'fold {name}: training did not start from the weights that '
                f'fold {first[0]} started from, so they are not fresh. '
                'Remove the folder of the fold and run it again.'
            )


def tested_rows(fold: Fold, folder: Path) -> dict[str, Row]:
    """Rows of a fold's scans that ``run_fold`` tested, in the fold's order."""
    return {
        uid: json.loads(
            (folder / 'test' / 'scans' / f'{uid}.json').read_text()
        )
        for uid in fold.test_series
    }
