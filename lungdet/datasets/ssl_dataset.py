"""Unlabelled lung crops of prepared cases, for pre-training."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.logging import print_log

from lungdet.datasets.folds import fold_metainfo, split_series
from lungdet.datasets.luna16_dataset import run_pipeline
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.registry import DATASETS, TRANSFORMS
from lungdet.seeds import SeedStream, seed_sequence

SPLITS = ('train', 'val')
FOLDS = ('train', 'all')


@DATASETS.register_module()
class LungCropDataset:
    """Crops from the folds that the detector trains on.

    Training crops are new in every epoch. Validation crops are always the
    same: they follow from the seed, the scan's uid and the crop's number.

    Args:
        data_root: Folder with ``index.json``; no annotation is used.
        split: ``'train'`` or ``'val'``.
        pipeline: Dicts of transforms.
        window: HU that become 0 and 1; the detector's.
        folds: ``'train'``: no scan of the detector's validation or test;
            ``'all'``: every scan, as the method's authors did. Then the test
            scans were seen before the test, if without labels: it warns, and
            every table of a detector that starts from it says so.
        crops_per_scan: Crops of a scan in an epoch.
        test_subsets: As in ``LUNA16Dataset``, and so the next three.
        val_subsets: The scans of ``split='val'``.
        test_series: Series uids that replace ``test_subsets``.
        val_series: Series uids that replace ``val_subsets``.
        seed: Every draw follows from it.

    Raises:
        ConfigError: Unknown split or folds, no window, or no scan left.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        pipeline: Sequence[dict],
        window: Sequence[float] | None = None,
        folds: str = 'train',
        crops_per_scan: int = 32,
        test_subsets: Sequence[int] = (9,),
        val_subsets: Sequence[int] = (8,),
        test_series: Sequence[str] | None = None,
        val_series: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        for name, value, known in (
            ('split', split, SPLITS),
            ('folds', folds, FOLDS),
        ):
            if value not in known:
                raise ConfigError(f'{name}: {value!r}; choose one of {known}.')
        if window is None:
            raise ConfigError(
                "window: not given; give the detector's, in HU. load_config "
                'takes it from model.data_preprocessor.'
            )
        self.split = split
        self.seed = seed
        self.window = tuple(window)
        self.crops_per_scan = crops_per_scan
        self.store = CaseStore(data_root)
        self.pipeline = Compose([TRANSFORMS.build(t) for t in pipeline])
        parts = split_series(
            self.store.records,
            test_subsets=test_subsets,
            val_subsets=val_subsets,
            test_series=test_series,
            val_series=val_series,
        )
        self.series_uids = parts[split]
        if split == 'train' and folds == 'all':
            self.series_uids = list(self.store.records)
            warnings.warn(
                f"folds='all': pre-training sees all {len(self.series_uids)} "
                f'scans, {len(parts["test"])} of them of the test; results '
                'of detectors that start from it are marked.',
                stacklevel=2,
            )
        if not self.series_uids:
            raise ConfigError(
                f'{split}: none of the {len(self.store.records)} scans in '
                f'{self.store.root} is left; check test_subsets and '
                'val_subsets, or set val_dataloader, val_cfg and '
                'val_evaluator to None.'
            )
        self.metainfo = {
            **fold_metainfo(
                self.store, split, self.series_uids, parts['test']
            ),
            'folds': folds,
        }
        print_log(
            f'{split}: {len(self)} crops an epoch of {len(self.series_uids)} '
            f'of {len(self.store.records)} prepared scans, folds={folds!r}',
            logger='current',
        )

    def __len__(self) -> int:
        return len(self.series_uids) * self.crops_per_scan

    def __getitem__(self, index: int) -> dict:
        """One pair; ``index`` may carry ``epoch`` and ``pos``.

        Raises:
            LungdetError: The case is broken; the message names the crop.
        """
        number, crop = divmod(int(index), self.crops_per_scan)
        uid = self.series_uids[number]
        if self.split == 'val':
            key = f'{uid} crop {crop}'
            stream = SeedStream.FIXED_LUNG_CROP
            position = [zlib.crc32(uid.encode()), crop]
        else:
            epoch = getattr(index, 'epoch', 0)
            pos = getattr(index, 'pos', int(index))
            key = f'{uid} epoch {epoch} position {pos}'
            stream = SeedStream.LUNG_CROP
            position = [epoch, pos, int(index)]
        results: dict[str, Any] = {
            'store': self.store,
            'record': self.store.records[uid],
            'window': self.window,
            'rng': np.random.default_rng(
                seed_sequence(self.seed, stream, *position)
            ),
            'sample_key': key,
        }
        return run_pipeline(self.pipeline, results)
