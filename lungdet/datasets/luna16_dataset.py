"""Prepared cases as training crops and as whole scans, for detection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log

from lungdet.datasets.case_dataset import CaseDataset
from lungdet.datasets.crop_mix import check_crops, nodule_weights
from lungdet.datasets.transforms.base import Sample
from lungdet.datasets.transforms.insertion import NoduleInsertion
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.io.hard_negatives import (
    HardNegative,
    HardNegativeBank,
    bank_of_epoch,
)
from lungdet.io.reference_set import num_listed
from lungdet.registry import DATASETS
from lungdet.seeds import SeedStream
from lungdet.structures import CaseNodule, CaseRecord


class SampleSource(NamedTuple):
    """Source of a sample.

    Attributes:
        kind: One of ``CROP_KINDS``, ``'background'`` or ``'scan'``.
        series_uid: Series uid of the scan; None if it is drawn for each
            sample.
        nodule: The nodule; None for other kinds, or if it is drawn.
        mark: The mark that a mined crop is around; None for other kinds.
    """

    kind: str
    series_uid: str | None = None
    nodule: CaseNodule | None = None
    mark: HardNegative | None = None


@DATASETS.register_module()
class LUNA16Dataset(CaseDataset):
    """Crops to train a detector on, and whole scans to test it on.

    Training: one sample per nodule of the training scans, and
    ``background_ratio`` times as many from the lungs (``lung_fraction``) or
    anywhere, of all training scans; or as many of each kind as ``crops`` says.
    Validation and test: whole scans.

    Args:
        data_root: Folder with ``index.json``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        background_ratio: Background samples per nodule sample.
        lung_fraction: Fraction of the background samples centred in the
            lungs.
        crops: Crops of an epoch by kind: ``'nodule'``, ``'mined'``,
            ``'lung'``, ``'inserted'`` and ``'anywhere'``, in place of
            ``background_ratio``. The scan or nodule of each is drawn. Mined
            crops lie around marks of a ``HardNegativeHook``, and in the lungs
            until there are some. Inserted ones lie in the lungs and get their
            nodules from a ``NoduleInsertion`` in the pipeline.
        size_weighting: With ``crops``, the fraction of nodules that are drawn
            evenly over sizes, see ``nodule_weights``.
        skip_done: Folder of per-scan results; scans with a result are left
            out.
        **options: As in ``CaseDataset``.

    Attributes:
        sources: Source of each sample of an epoch.

    Raises:
        ConfigError: As ``CaseDataset``, or there is nothing to train on or to
            evaluate; an unknown kind in ``crops``, inserted crops without a
            ``NoduleInsertion``, or both ``crops`` and ``background_ratio``.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        background_ratio: float = 0.0,
        lung_fraction: float = 0.6,
        crops: Mapping[str, int] | None = None,
        size_weighting: float = 0.0,
        skip_done: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data_root, split, **options)
        self.lung_fraction = lung_fraction
        self.bank: tuple[Path, list[SampleSource]] | None = None
        self.nodules: list[SampleSource] = []
        self.weights = np.zeros(0)
        if split == 'train':
            if crops is not None:
                check_crops(crops, background_ratio)
                self._check_insertion(crops)
            needed = crops is None or crops.get('nodule', 0) > 0
            self._list_nodules(size_weighting, needed=needed)
            self.sources = self._crops(background_ratio, crops)
            print_log(self._training_summary(), logger='current')
        else:
            self._check_measurable()
            self.metainfo['num_listed'] = self._num_listed()
            self.sources = self._scans(skip_done)
            print_log(self._test_summary(), logger='current')

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def scan_voxels(self) -> list[int]:
        records = self.store.records
        return [
            prod(records[source.series_uid].geometry.shape)
            if source.kind == 'scan' and source.series_uid is not None
            else 0
            for source in self.sources
        ]

    @property
    def largest_sample(self) -> int:
        """Index of a sample that takes as much memory as any of an epoch."""
        return int(np.argmax(self.scan_voxels))

    def start_sample(self, index: int, epoch: int, position: int) -> Sample:
        rng = self.rng(SeedStream.DETECTION_SAMPLE, epoch, position, index)
        source = self.sources[index]
        if source.series_uid is None:
            source = self._choose(source.kind, rng, epoch)
        kind, uid, nodule, mark = source
        assert uid is not None
        record = self.store.records[uid]
        return {
            'store': self.store,
            'record': record,
            'kind': kind,
            'nodule': nodule,
            'mark_box': None if mark is None else mark_box(record, mark),
            'rng': rng,
            'sample_key': f'{uid} epoch {epoch} position {position} {kind}',
        }

    @property
    def kinds(self) -> list[str]:
        return [source.kind for source in self.sources]

    @property
    def scans_to_mine(self) -> list[tuple[CaseStore, str]]:
        if 'mined' not in self.kinds:
            return []
        return [(self.store, uid) for uid in self.series_uids]

    def hard_negatives(self, epoch: int) -> list[SampleSource]:
        """The mined crops that an epoch chooses from; none before the first
        bank.

        Raises:
            ConfigError: Nothing is mined, or the marks are on scans that this
                data set holds out.
        """
        if self.bank_folder is None:
            raise ConfigError(
                'crops.mined: nothing is mined; add '
                "dict(type='HardNegativeHook') to custom_hooks, or leave out "
                'mined.'
            )
        path = bank_of_epoch(self.bank_folder, epoch)
        if path is None:
            return []
        if self.bank is None or self.bank[0] != path:
            bank = HardNegativeBank.read(path)
            for part in ('test', 'val'):
                if leaked := sorted(bank.marks.keys() & {*self.parts[part]}):
                    raise ConfigError(
                        f'{path}: has marks on {leaked[0]}, a scan of the '
                        f'{part}; the result would be too optimistic. Train '
                        'in a folder of its own.'
                    )
            marks = [
                SampleSource('mined', uid, mark=mark)
                for uid in self.series_uids
                for mark in bank.marks.get(uid, ())
            ]
            self.bank = path, marks
        return self.bank[1]

    def _choose(
        self, kind: str, rng: np.random.Generator, epoch: int
    ) -> SampleSource:
        """The crop of a sample whose scan is not fixed."""
        if kind == 'nodule':
            return self.nodules[rng.choice(len(self.nodules), p=self.weights)]
        if kind == 'mined':
            if marks := self.hard_negatives(epoch):
                return marks[rng.integers(len(marks))]
            kind = 'lung'
        uid = self.series_uids[rng.integers(len(self.series_uids))]
        if kind == 'background':
            in_lungs = rng.random() < self.lung_fraction
            kind = 'lung' if in_lungs else 'anywhere'
        return SampleSource(kind, uid)

    def _list_nodules(self, size_weighting: float, *, needed: bool) -> None:
        """All training nodules, and how often each is shown."""
        self.nodules = [
            SampleSource('nodule', uid, nodule)
            for uid in self.series_uids
            for nodule in self.store.records[uid].nodules
        ]
        if not self.series_uids:
            raise ConfigError(
                f'train: none of the {len(self.store.records)} scans in '
                f'{self.store.root} is trained on; check test_subsets and '
                'val_subsets, or test_series and val_series.'
            )
        if needed and not self.nodules:
            raise ConfigError(
                f'train: none of the {len(self.series_uids)} training scans '
                f'in {self.store.root} has a nodule; check test_subsets and '
                'val_subsets.'
            )
        diameters = [s.nodule.diameter_mm for s in self.nodules if s.nodule]
        self.weights = nodule_weights(np.array(diameters), size_weighting)

    def _crops(
        self, background_ratio: float, crops: Mapping[str, int] | None
    ) -> list[SampleSource]:
        if crops is None:
            count = round(background_ratio * len(self.nodules))
            return self.nodules + [SampleSource('background')] * count
        return [
            SampleSource(kind)
            for kind, count in crops.items()
            for _ in range(count)
        ]

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
        if self.named_series[self.split] is not None:
            return len(self.series_uids)
        return num_listed(self.subsets[self.split], self.series_uids)

    def _check_insertion(self, crops: Mapping[str, int]) -> None:
        """Refuse crops for inserted nodules that would not get any."""
        steps = self.pipeline.transforms
        if crops.get('inserted') and not any(
            isinstance(step, NoduleInsertion) and step.takes('inserted')
            for step in steps
        ):
            raise ConfigError(
                'crops.inserted: nothing is inserted; add '
                "dict(type='NoduleInsertion', kinds=('inserted',)) to "
                'train_pipeline, or leave out inserted.'
            )

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
        empty = sum(
            not self.store.records[uid].nodules for uid in self.series_uids
        )
        counts = ', '.join(
            f'{count} {"nodules" if kind == "nodule" else kind}'
            for kind, count in Counter(self.kinds).items()
        )
        return (
            f'{self._summary()}; {empty} without a nodule; {len(self)} '
            f'samples per epoch: {counts}'
        )

    def _test_summary(self) -> str:
        done = len(self.series_uids) - len(self)
        return f'{self._summary()}; {done} done already, {len(self)} to do'


def mark_box(record: CaseRecord, mark: HardNegative) -> tuple[float, ...]:
    """Edge box (6,) of a mark in its case's voxels."""
    (box,) = record.geometry.sphere_box([mark.center_mm], mark.diameter_mm)
    return tuple(box.tolist())
