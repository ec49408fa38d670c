"""Folds: which scans a run tests, validates on and trains on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from mmengine.config import Config

from lungdet.datasets.folds import patients_of, split_series
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_column
from lungdet.io.numbers import count_of
from lungdet.io.reference_set import num_listed
from lungdet.structures import CaseRecord

CONFIG_SPLIT = 'config'  # the split of a config, as a single fold
RANGE = '[0-9]{1,4}(-[0-9]{1,4})?'
SUBSETS = re.compile(f'{RANGE}(,{RANGE})*')
FOLD_NAME = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9._-]*')
MIN_FOLDS = 3  # one to test, one to validate, the rest to train

Records = dict[str, CaseRecord]


@dataclass(frozen=True)
class Fold:
    """Scans that are tested with weights not trained on them.

    Attributes:
        name: Name of the fold and of its folder.
        test_series: Series uids of the test.
        val_series: Series for choosing a checkpoint; may be empty.
        subsets: Subsets of LUNA16 that it tests; empty if the test is
            described otherwise.
    """

    name: str
    test_series: tuple[str, ...]
    val_series: tuple[str, ...] = ()
    subsets: tuple[int, ...] = field(default=(), compare=False)

    @property
    def num_listed(self) -> int:
        """Number of scans of the test, prepared or not."""
        if not self.subsets:
            return len(self.test_series)
        return num_listed(self.subsets, self.test_series)


def prepared_records(config: Config) -> Records:
    """The prepared scans that a config tests on, by series uid."""
    return CaseStore(config.test_dataloader.dataset.data_root).records


def folds_of_config(config: Config, spec: str) -> list[Fold]:
    """Folds of the scans that a config tests on.

    Args:
        config: Loaded; with a ``val_dataloader`` each fold validates.
        spec: As in ``make_folds``, or ``'config'`` for the config's split.

    Raises:
        ConfigError: As ``make_folds``.
    """
    records = prepared_records(config)
    if spec != CONFIG_SPLIT:
        validate = config.get('val_dataloader') is not None
        return make_folds(spec, records, validate=validate)
    dataset = config.test_dataloader.dataset
    parts = split_series(
        records,
        test_subsets=dataset.test_subsets,
        val_subsets=dataset.val_subsets,
        test_series=dataset.get('test_series'),
        val_series=dataset.get('val_series'),
    )
    subsets = () if dataset.get('test_series') else dataset.test_subsets
    return [
        Fold(
            spec,
            tuple(parts['test']),
            tuple(parts['val']),
            tuple(subsets),
        )
    ]


def make_folds(spec: str, records: Records, *, validate: bool) -> list[Fold]:
    """Folds of prepared scans.

    Args:
        spec: Subsets as ``'0-9'`` or ``'3,5'``; ``'series'``, one fold per
            scan (scans of one known patient stay together); or a csv with
            the columns seriesuid and fold.
        records: Prepared scans.
        validate: Keep the next fold for choosing a checkpoint.

    Returns:
        The requested folds, in order.

    Raises:
        ConfigError: An unknown subset or series, a patient in two folds, or
            too few folds.
    """
    groups = _group_by_fold(spec, records)
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
            (int(name),) if SUBSETS.fullmatch(spec) else (),
        )
        for name in _requested(spec, names)
    ]


def _group_by_fold(spec: str, records: Records) -> dict[str, list[str]]:
    """All folds: name -> series uids."""
    if spec == 'series':
        labels = _label_by_patient(records)
    elif SUBSETS.fullmatch(spec):
        labels = {
            uid: str(record.subset)
            for uid, record in records.items()
            if record.subset is not None
        }
    elif Path(spec).is_file():
        labels = _label_by_table(spec, records)
    else:
        raise ConfigError(
            f'--folds {spec}: neither subsets (0-9), nor "series", nor a csv '
            'with seriesuid and fold; name one of them.'
        )
    groups: dict[str, list[str]] = {}
    for uid in records:
        if uid in labels:
            groups.setdefault(labels[uid], []).append(uid)
    return dict(sorted(groups.items(), key=lambda item: _sort_key(item[0])))


def _label_by_patient(records: Records) -> dict[str, str]:
    """One fold per scan, named by it; scans of one patient share a fold."""
    first_of_patient: dict[str, str] = {}
    return {
        uid: first_of_patient.setdefault(record.patient_id or uid, uid)
        for uid, record in records.items()
    }


def _label_by_table(path: str, records: Records) -> dict[str, str]:
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


def _sort_key(name: str) -> tuple[bool, int, str]:
    """Numbers in numeric order, then names."""
    number = count_of(name)
    return number is None, number or 0, name


def _requested(spec: str, names: Sequence[str]) -> list[str]:
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
    patients = {
        name: set(patients_of(records, uids)) for name, uids in groups.items()
    }
    for one, other in combinations(groups, 2):
        if shared := patients[one] & patients[other]:
            raise ConfigError(
                f'patient {min(shared)} has scans in fold {one} and in fold '
                f'{other}; keep a patient in one fold.'
            )
