"""Which scans train, validate and test: the one place that says so."""

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
    """What checkpoints, leakage checks and tables must know of a fold."""
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
    """The patients of some scans, where they are known."""
    return sorted({records[u].patient_id or '' for u in uids} - {''})


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
    """Series uids of train, val and test.

    Raises:
        ConfigError: Series that are no list of text, an unknown series, or a
            series or patient in two parts.
    """
    _check_names('test_series', test_series)
    _check_names('val_series', val_series)

    def chosen(
        subsets: Sequence[int], series: Sequence[str] | None
    ) -> list[str]:
        if series is None:
            return [u for u, r in records.items() if r.subset in set(subsets)]
        unknown = sorted(set(series) - set(records))
        if unknown:
            raise ConfigError(
                f'series {unknown[0]!r} (and {len(unknown) - 1} more) is '
                f'not among the {len(records)} prepared scans.'
            )
        return [u for u in records if u in set(series)]

    parts = {
        'test': chosen(test_subsets, test_series),
        'val': chosen(val_subsets, val_series),
    }
    both = set(parts['test']) & set(parts['val'])
    if both:
        raise ConfigError(
            f'series {sorted(both)[0]} is in validation and in test; choose '
            'disjoint subsets.'
        )
    held_out = {*parts['test'], *parts['val']}
    parts['train'] = [u for u in records if u not in held_out]
    owner: dict[str, str] = {}
    for part, uids in parts.items():
        for uid in uids:
            patient = records[uid].patient_id
            if patient and owner.setdefault(patient, part) != part:
                raise ConfigError(
                    f'patient {patient} is in {owner[patient]} and in {part} '
                    f'(series {uid}); keep a patient on one side.'
                )
    return parts


def _check_names(key: str, series: Any) -> None:
    """A text would be taken letter by letter; a number equals no name."""
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
