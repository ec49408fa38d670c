"""The scans that weights were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingScans:
    """Scans that weights were trained on, including those of earlier weights.

    Attributes:
        series: Series uids, sorted.
        patients: Their patients, if known, sorted.
        folds: For pre-training ``'all'`` if it used the test scans too, else
            ``'train'``; None for a detector.
    """

    series: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    folds: str | None = None

    @classmethod
    def of_data(cls, metainfo: Mapping[str, Any]) -> TrainingScans:
        """The scans of a data set."""
        return cls(
            tuple(sorted(metainfo.get('series_uids', ()))),
            tuple(sorted(metainfo.get('patients', ()))),
            metainfo.get('folds'),
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TrainingScans:
        """The scans in a checkpoint's meta, or in a provenance."""
        return cls(
            tuple(stored['train_series']),
            tuple(stored['train_patients']),
            stored['folds'],
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which ``from_dict`` reads."""
        return {
            'train_series': list(self.series),
            'train_patients': list(self.patients),
            'folds': self.folds,
        }

    def after(self, *earlier: TrainingScans) -> TrainingScans:
        """These scans merged with those of earlier weights."""
        every = (self, *earlier)
        on_all = self.folds and 'all' in [scans.folds for scans in every]
        return TrainingScans(
            tuple(sorted({uid for scans in every for uid in scans.series})),
            tuple(sorted({p for scans in every for p in scans.patients})),
            'all' if on_all else self.folds,
        )
