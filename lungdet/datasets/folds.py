"""The split of scans into training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.structures import CaseRecord


def fold_metainfo(
    store: CaseStore,
    split: str,
    series_uids: Sequence[str],
    test_series: Sequence[str],
) -> dict[str, Any]:
    """What checkpoints, leakage checks and tables need about a fold.

    Args:
        store: The prepared cases.
        split: ``'train'``, ``'val'`` or ``'test'``.
        series_uids: Scans that are sampled.
        test_series: Scans of the test.

    Raises:
        ConfigError: The store's cases differ in spacing.
    """
    return {
        'data_root': str(store.root),
        'split': split,
        'series_uids': series_uids,
        'patients': patients_of(store.records, series_uids),
        'test_series': test_series,
        'test_patients': patients_of(store.records, test_series),
        'spacing_mm': one_spacing(store.records),
    }


def patients_of(
    records: dict[str, CaseRecord], uids: Sequence[str]
) -> list[str]:
    """The patients of some scans, sorted; scans of unknown patients add none.

    Where nodules were inserted, also the series and patients that the scan and
    the nodules came from.

    Args:
        records: Case records by series uid.
        uids: Series uids among them.
    """
    return sorted(
        {name for uid in uids for name in records[uid].names} - {*uids}
    )


def one_spacing(records: dict[str, CaseRecord]) -> float | None:
    """The spacing of all cases in mm, None without cases.

    Raises:
        ConfigError: They differ.
    """
    spacings = sorted({record.spacing_mm for record in records.values()})
    if len(spacings) > 1:
        raise ConfigError(
            f'cases of spacings {spacings} mm lie in one folder; prepare all '
            'scans with one spacing.'
        )
    return spacings[0] if spacings else None


def split_series(
    records: dict[str, CaseRecord],
    *,
    test_subsets: Sequence[int],
    val_subsets: Sequence[int],
    test_series: Sequence[str] | None,
    val_series: Sequence[str] | None,
) -> dict[str, list[str]]:
    """Divide a store's scans.

    Args:
        records: Case records by series uid.
        test_subsets: LUNA16 subsets of the test.
        val_subsets: LUNA16 subsets of the validation.
        test_series: Series uids that replace ``test_subsets``.
        val_series: Series uids that replace ``val_subsets``.

    Returns:
        Series uids of ``'test'``, ``'val'`` and ``'train'``, in the order of
        ``records``; scans in neither test nor validation are trained on.

    Raises:
        ConfigError: Series that are not a list of text, an unknown series, a
            test whose subsets have no scans, or a series or patient in two
            parts.
    """
    _check_names('test_series', test_series)
    _check_names('val_series', val_series)
    if test_series is None:
        _check_subsets(records, test_subsets)
    test = _select(records, test_subsets, test_series)
    val = _select(records, val_subsets, val_series)
    both = sorted(set(test) & set(val))
    if both:
        raise ConfigError(
            f'series {both[0]} is in validation and in test; choose '
            'disjoint subsets.'
        )
    held_out = {*test, *val}
    train = [uid for uid in records if uid not in held_out]
    parts = {'test': test, 'val': val, 'train': train}
    _check_patients(records, parts)
    return parts


def _select(
    records: dict[str, CaseRecord],
    subsets: Sequence[int],
    series: Sequence[str] | None,
) -> list[str]:
    """Scans of some subsets, or the named ones, in the order of records."""
    if series is None:
        return [
            uid for uid, record in records.items() if record.subset in subsets
        ]
    unknown = sorted(set(series) - set(records))
    if unknown:
        raise ConfigError(
            f'series {unknown[0]!r} (and {len(unknown) - 1} more) is '
            f'not among the {len(records)} prepared scans.'
        )
    named = set(series)
    return [uid for uid in records if uid in named]


def _check_subsets(
    records: dict[str, CaseRecord], test_subsets: Sequence[int]
) -> None:
    """Check that the test has scans; else every scan would be trained on.

    A part of LUNA16 may lack some of the subsets.
    """
    subsets = {record.subset for record in records.values()}
    if test_subsets and not subsets & set(test_subsets):
        absent = ', '.join(map(str, test_subsets))
        present = ', '.join(str(s) for s in range(10) if s in subsets)
        raise ConfigError(
            f'test_subsets: no prepared scan is of subset {absent}; there '
            f'are the subsets {present or "none"}. Choose among them, name '
            'scans by test_series, or hold out none by test_series=[].'
        )


def _check_patients(
    records: dict[str, CaseRecord], parts: dict[str, list[str]]
) -> None:
    part_of: dict[str, str] = {}
    for part, uids in parts.items():
        for uid in uids:
            for name in sorted(records[uid].names):
                if part_of.setdefault(name, part) != part:
                    raise ConfigError(
                        f'patient {name} is in {part_of[name]} and in '
                        f'{part} (series {uid}); keep a patient on one side.'
                    )


def _check_names(key: str, series: Any) -> None:
    """Check a list of names: text would be split, numbers match no name."""
    if series is None:
        return
    if isinstance(series, str) or not isinstance(series, Sequence):
        raise ConfigError(
            f'{key}: {series!r} is not a list of names. Write '
            f'{key}="[{str(series)!r}]".'
        )
    for name in series:
        if not isinstance(name, str):
            raise ConfigError(
                f'{key}: {name!r} is not text, and scans are named by text. '
                'Write the name in quotes.'
            )
