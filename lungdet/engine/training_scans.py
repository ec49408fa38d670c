"""The scans that weights were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lungdet.errors import ConfigError


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

    def check_validation(self, metainfo: Mapping[str, Any]) -> None:
        """Refuse a validation on scans that are trained on.

        Pre-training with ``folds='all'`` asks for it.

        Args:
            metainfo: Metainfo of the validation's data.

        Raises:
            ConfigError: They share a scan or a patient.
        """
        validated = TrainingScans.of_data(metainfo)
        trained = {*self.series, *self.patients}
        shared = trained & {*validated.series, *validated.patients}
        if shared and self.folds != 'all':
            raise ConfigError(
                f'val_dataloader: {len(shared)} of its scans and patients are '
                'trained on, or were by the weights that the training starts '
                f'from, first {min(shared)}; the checkpoint that is best on '
                'them need not be the best. Give the data sets of '
                'train_dataloader and val_dataloader the same val_subsets or '
                'val_series, and start from weights that were not trained on '
                'them.'
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
