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
        train_patients: Their patients, where known.
        allowed: A test on them was asked for; every table says so.
        remedy: What to do if it was not.
    """

    how: str
    train_series: Sequence[str]
    train_patients: Sequence[str]
    allowed: bool
    remedy: str


def seen_in_training(meta: dict[str, Any], *, allowed: bool) -> Seen:
    """Scans that a checkpoint was trained on, a detector's with labels.

    Args:
        meta: Of the checkpoint, empty without one.
        allowed: Whether a test on them was asked for; a pre-training with
            ``folds='all'`` asks for it too.
    """
    folds = meta.get('folds')  # of a pre-training
    return Seen(
        'pre-trained without labels' if folds else 'trained with labels',
        meta.get('train_series', []),
        meta.get('train_patients', []),
        allowed or folds == 'all',
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
        provenance['train_patients'],
        provenance['folds'] == 'all',
        'Pre-train again with the same test scans, or with '
        "train_dataloader.dataset.folds='all', which every table says.",
    )


def check_leakage(seen: Seen, dataset_meta: dict[str, Any]) -> str | None:
    """Whether weights have seen test scans.

    Args:
        seen: What they have seen.
        dataset_meta: May have ``test_series`` and ``test_patients``.

    Returns:
        What every table must say, None if there is nothing to say.

    Raises:
        CheckpointError: They have, or other scans of their patients, and it
            was not asked for.
    """
    tests = dataset_meta.get('test_series', [])
    patients = dataset_meta.get('test_patients', [])
    both = sorted(set(seen.train_series) & set(tests))
    known = sorted(set(seen.train_patients) & set(patients))
    count = f'{len(both)} of the {len(tests)} test scans'
    if seen.allowed:
        return f'{seen.how}, {count} among them'
    if both or known:
        raise CheckpointError(
            f'weights that were {seen.how}: {count}, and {len(known)} of '
            'their known patients, were used to make them, first '
            f'{(both + known)[0]}; the test would be too good. {seen.remedy}'
        )
    return None
