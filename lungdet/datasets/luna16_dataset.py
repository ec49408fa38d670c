"""Prepared cases as training crops and as whole scans, for detection."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from lungdet.datasets.case_dataset import CaseDataset
from lungdet.datasets.transforms.base import Sample
from lungdet.errors import ConfigError
from lungdet.io.reference_set import official_subsets
from lungdet.registry import DATASETS
from lungdet.seeds import SeedStream
from lungdet.structures import CaseNodule


class SampleSource(NamedTuple):
    """Source of a sample.

    Attributes:
        kind: ``'nodule'``, ``'background'`` or ``'scan'``.
        series_uid: Of the scan, None for background, which draws a random one.
        nodule: The nodule, None for the other kinds.
    """

    kind: str
    series_uid: str | None = None
    nodule: CaseNodule | None = None


@DATASETS.register_module()
class LUNA16Dataset(CaseDataset):
    """Crops to train a detector on, and whole scans to test it on.

    Training: one sample per nodule of the training scans, and
    ``background_ratio`` times as many more, from lungs (``lung_fraction``)
    or anywhere, of all training scans. Validation and test: whole scans.

    Args:
        data_root: Folder with ``index.json``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        background_ratio: Background samples per nodule sample.
        lung_fraction: Fraction of the background samples centred in the
            lungs.
        skip_done: Folder of per-scan results; scans with a result are left
            out.
        **options: As in ``CaseDataset``.

    Attributes:
        sources: Source of each sample of an epoch.

    Raises:
        ConfigError: As ``CaseDataset``, or there is nothing to train on or to
            evaluate.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        background_ratio: float = 0.0,
        lung_fraction: float = 0.6,
        skip_done: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data_root, split, **options)
        self.lung_fraction = lung_fraction
        if split == 'train':
            self.sources = self._crops(background_ratio)
            print_log(self._training_summary(), logger='current')
        else:
            self._check_measurable()
            self.metainfo['num_listed'] = self._num_listed()
            self.sources = self._scans(skip_done)
            print_log(self._test_summary(), logger='current')

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def largest_sample(self) -> int:
        """Index of a sample that takes as much memory as any."""
        records = self.store.records
        voxels = [
            prod(records[source.series_uid].geometry.shape)
            if source.kind == 'scan' and source.series_uid is not None
            else 0  # crops are all of one size
            for source in self.sources
        ]
        return voxels.index(max(voxels))

    def start_sample(self, index: int, epoch: int, position: int) -> Sample:
        rng = self.rng(SeedStream.DETECTION_SAMPLE, epoch, position, index)
        kind, uid, nodule = self.sources[index]
        if uid is None:
            uid = self.series_uids[rng.integers(len(self.series_uids))]
            in_lungs = rng.random() < self.lung_fraction
            kind = 'lung' if in_lungs else 'anywhere'
        return {
            'store': self.store,
            'record': self.store.records[uid],
            'kind': kind,
            'nodule': nodule,
            'rng': rng,
            'sample_key': f'{uid} epoch {epoch} position {position} {kind}',
        }

    def _crops(self, background_ratio: float) -> list[SampleSource]:
        nodules = [
            SampleSource('nodule', uid, nodule)
            for uid in self.series_uids
            for nodule in self.store.records[uid].nodules
        ]
        if not nodules:
            raise ConfigError(
                f'train: none of the {len(self.series_uids)} training scans '
                f'in {self.store.root} has a nodule; check test_subsets and '
                'val_subsets.'
            )
        num_background = round(background_ratio * len(nodules))
        return nodules + [SampleSource('background')] * num_background

    def _scans(self, skip_done: str | Path | None) -> list[SampleSource]:
        done: set[str] = set()
        if skip_done is not None:
            done = {path.stem for path in Path(skip_done).glob('*.json')}
        return [
            SampleSource('scan', uid)
            for uid in self.series_uids
            if uid not in done
        ]

    def _num_listed(self) -> int:
        """Scans of a full evaluation: all of LUNA16's subset, prepared or
        not."""
        official = official_subsets()
        is_named = self.named_series[self.split] is not None
        if is_named or not official.keys() & set(self.series_uids):
            return len(self.series_uids)
        subsets = set(self.subsets[self.split])
        listed = {uid for uid, subset in official.items() if subset in subsets}
        return len(listed | set(self.series_uids))

    def _check_measurable(self) -> None:
        """Refuse an evaluation without nodules, which would look like a bad
        one."""
        records = self.store.records
        has_nodule = any(records[uid].nodules for uid in self.series_uids)
        if self.series_uids and (has_nodule or self.split == 'test'):
            return
        what = (
            f'the {len(self.series_uids)} scans have no nodule to choose a '
            'checkpoint by'
            if self.series_uids
            else f'none of the {len(records)} prepared scans is of it'
        )
        without = (
            ', or validate on none by val_dataloader=None val_cfg=None '
            'val_evaluator=None default_hooks.checkpoint.save_best=None'
        )
        raise ConfigError(
            f'{self.split}: {what} ({self.store.root}); choose others by '
            f'{self.split}_subsets or {self.split}_series'
            f'{without if self.split == "val" else ""}.'
        )

    def _summary(self) -> str:
        others = ', '.join(
            f'{len(uids)} in {name}'
            for name, uids in self.parts.items()
            if name != self.split
        )
        return (
            f'{self.split}: kept {len(self.series_uids)} of '
            f'{len(self.store.records)} prepared scans ({others})'
        )

    def _training_summary(self) -> str:
        kinds = [source.kind for source in self.sources]
        empty = sum(
            not self.store.records[uid].nodules for uid in self.series_uids
        )
        return (
            f'{self._summary()}; {empty} without a nodule; {len(kinds)} '
            f'samples per epoch: {kinds.count("nodule")} nodules, '
            f'{kinds.count("background")} background'
        )

    def _test_summary(self) -> str:
        done = len(self.series_uids) - len(self)
        return f'{self._summary()}; {done} done already, {len(self)} to do'
