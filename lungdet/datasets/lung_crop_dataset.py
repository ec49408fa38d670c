"""Unlabelled lung crops of prepared cases, for pre-training."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lungdet.datasets.case_dataset import CaseDataset
from lungdet.datasets.transforms.base import Sample
from lungdet.errors import ConfigError
from lungdet.hounsfield import Window
from lungdet.registry import DATASETS
from lungdet.seeds import SeedStream

FOLDS = ('train', 'all')


@DATASETS.register_module()
class LungCropDataset(CaseDataset):
    """Crops from the folds that the detector trains on.

    Training crops are new in every epoch. Validation crops are fixed by the
    seed, the scan's uid and the crop's number.

    Args:
        data_root: Folder with ``index.json``; no annotation is used.
        split: ``'train'`` or ``'val'``.
        window: HU that become 0 and 1; must be the detector's.
        folds: ``'train'``: without the scans of the detector's validation and
            test; ``'all'``: every scan, as in the method's paper. Pre-training
            then uses the test scans, although without labels: it warns, and
            every table of a detector that starts from it says so.
        crops_per_scan: Crops of a scan in an epoch.
        **options: As in ``CaseDataset``.

    Raises:
        ConfigError: As ``CaseDataset``, or unknown folds, no window, or no
            scan left.
    """

    splits = ('train', 'val')

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        window: Sequence[float] | None = None,
        folds: str = 'train',
        crops_per_scan: int = 32,
        **options: Any,
    ) -> None:
        if folds not in FOLDS:
            raise ConfigError(f'folds: {folds!r}; choose one of {FOLDS}.')
        if window is None:
            raise ConfigError(
                "window: not given; give the detector's, in HU. load_config "
                'takes it from model.data_preprocessor.'
            )
        self.folds = folds
        self.window = Window(*window)
        self.crops_per_scan = crops_per_scan
        super().__init__(data_root, split, **options)
        self.metainfo['folds'] = folds
        if not self.series_uids:
            raise ConfigError(
                f'{split}: none of the {len(self.store.records)} scans in '
                f'{self.store.root} is left; check test_subsets and '
                'val_subsets, or set val_dataloader, val_cfg and '
                'val_evaluator to None.'
            )
        print_log(
            f'{split}: {len(self)} crops per epoch of {len(self.series_uids)} '
            f'of {len(self.store.records)} prepared scans, folds={folds!r}',
            logger='current',
        )

    def select_series(self) -> list[str]:
        """Scans of the split, or all scans for training on all folds."""
        if self.split != 'train' or self.folds != 'all':
            return super().select_series()
        uids = list(self.store.records)
        warnings.warn(
            f"folds='all': pre-training uses all {len(uids)} scans, "
            f'{len(self.parts["test"])} of them of the test; results of '
            'detectors that start from it are marked.',
            stacklevel=4,
        )
        return uids

    def __len__(self) -> int:
        return len(self.series_uids) * self.crops_per_scan

    def start_sample(self, index: int, epoch: int, position: int) -> Sample:
        scan, crop = divmod(index, self.crops_per_scan)
        uid = self.series_uids[scan]
        if self.split == 'val':
            key = f'{uid} crop {crop}'
            uid_hash = zlib.crc32(uid.encode())
            rng = self.rng(SeedStream.FIXED_LUNG_CROP, uid_hash, crop)
        else:
            key = f'{uid} epoch {epoch} position {position}'
            rng = self.rng(SeedStream.LUNG_CROP, epoch, position, index)
        return {
            'store': self.store,
            'record': self.store.records[uid],
            'window': self.window,
            'rng': rng,
            'sample_key': key,
        }
