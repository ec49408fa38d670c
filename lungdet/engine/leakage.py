"""Scans that weights have seen, which a test must not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lungdet.errors import CheckpointError


@dataclass(frozen=True)
class Seen:
    """Scans that weights were made of.

    Attributes:
        how: The weights were ...
        train_series: Series uids.
        allowed: A test on them was asked for; every table says so.
        remedy: What to do if it was not.
        train_patients: Their patients, where known.
    """

    how: str
    train_series: Sequence[str]
    allowed: bool
    remedy: str
    train_patients: Sequence[str] = ()


def seen_in_training(train_series: Sequence[str], *, allowed: bool) -> Seen:
    """Scans that a detector was trained on, with their nodules."""
    return Seen(
        'trained with labels',
        train_series,
        allowed,
        'Test with the folds of the training, or with allow_seen_test=True, '
        'which every table says.',
    )


def seen_in_pretraining(provenance: dict[str, Any]) -> Seen:
    """Scans that a backbone was pre-trained on."""
    if provenance['folds'] == 'all':
        how = "pre-trained without labels on all folds (folds='all')"
    else:
        how = f'pre-trained ({provenance["method"]})'
    return Seen(
        how,
        provenance['train_series'],
        provenance['folds'] == 'all',
        'Pre-train again with the same test scans, or with '
        "train_dataloader.dataset.folds='all', which every table says.",
        provenance['train_patients'],
    )


def check_leakage(
    seen: Seen, test_series: Sequence[str], test_patients: Sequence[str] = ()
) -> str | None:
    """Whether weights have seen test scans.

    Returns:
        What every table must say, None if there is nothing to say.

    Raises:
        CheckpointError: They have, or other scans of their patients, and it
            was not asked for.
    """
    both = sorted(set(seen.train_series) & set(test_series))
    count = f'{len(both)} of the {len(test_series)} test scans'
    if seen.allowed:
        return f'note: {seen.how}, {count} among them'
    known = sorted(set(seen.train_patients) & set(test_patients))
    if both or known:
        raise CheckpointError(
            f'weights that were {seen.how}: {count} and {len(known)} of '
            f'their known patients were used to make them, first '
            f'{(both + known)[0]}; the test would be too good. {seen.remedy}'
        )
    return None
