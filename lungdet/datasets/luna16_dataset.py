"""Prepared cases as training samples and as whole test scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.logging import print_log

from lungdet.datasets.folds import fold_metainfo, split_series
from lungdet.errors import ConfigError, LungdetError
from lungdet.io.case_store import CaseStore
from lungdet.io.reference_set import official_subsets
from lungdet.registry import DATASETS, TRANSFORMS
from lungdet.seeds import SeedStream, seed_sequence

SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class LUNA16Dataset:
    """Folds of a prepared folder.

    Training: one sample per nodule of the training scans, and
    ``background_ratio`` times as many more, from lungs (``lung_fraction``) or
    anywhere, of all training scans. Validation and test: whole scans.

    Args:
        data_root: Folder with ``index.json``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        pipeline: Dicts of transforms.
        test_subsets: LUNA16 subsets kept for the test.
        val_subsets: Subsets kept for choosing a checkpoint; may be empty.
        test_series: Series uids that replace ``test_subsets``.
        val_series: Series uids that replace ``val_subsets``.
        background_ratio: Background samples per nodule sample.
        lung_fraction: Fraction of the background samples centred in the
            lungs.
        seed: Every draw follows from (seed, epoch, position); the Runner
            hands over its own.
        skip_done: Folder of per-scan results; scans found there are left out.

    Raises:
        ConfigError: Unknown split or series, a series or patient on both
            sides of a split, or nothing left to train on.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        pipeline: Sequence[dict],
        test_subsets: Sequence[int] = (9,),
        val_subsets: Sequence[int] = (8,),
        test_series: Sequence[str] | None = None,
        val_series: Sequence[str] | None = None,
        background_ratio: float = 0.0,
        lung_fraction: float = 0.6,
        seed: int = 0,
        skip_done: str | Path | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ConfigError(f'split: {split!r}; choose one of {SPLITS}.')
        self.split = split
        self.seed = seed
        self.lung_fraction = lung_fraction
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
        if split != 'train':
            self._check_tested()
        self.metainfo = {
            **fold_metainfo(
                self.store, split, self.series_uids, parts['test']
            ),
            'num_listed': self._num_listed(
                test_subsets if split == 'test' else val_subsets,
                test_series if split == 'test' else val_series,
            ),
        }
        self.samples = self._samples(background_ratio, skip_done)
        print_log(self._kept(parts), logger='current')

    def _num_listed(
        self, subsets: Sequence[int], series: Sequence[str] | None
    ) -> int:
        """Scans that a full evaluation has: LUNA16's subset lists them all,
        prepared or not."""
        official = official_subsets()
        if series is not None or not official.keys() & set(self.series_uids):
            return len(self.series_uids)
        listed = {u for u, s in official.items() if s in set(subsets)}
        return len(listed | set(self.series_uids))

    def _check_tested(self) -> None:
        """A figure of nothing would look like one of nothing found."""
        records = self.store.records
        found = any(records[uid].nodules for uid in self.series_uids)
        if self.series_uids and (found or self.split == 'test'):
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

    def _kept(self, parts: dict[str, list[str]]) -> str:
        """What was kept, and why the rest was not."""
        others = ', '.join(
            f'{len(uids)} in {name}'
            for name, uids in parts.items()
            if name != self.split
        )
        text = (
            f'{self.split}: kept {len(self.series_uids)} of '
            f'{len(self.store.records)} prepared scans ({others})'
        )
        if self.split != 'train':
            done = len(self.series_uids) - len(self.samples)
            return f'{text}; {done} done already, {len(self.samples)} to do'
        nodules = sum(uid is not None for uid, _ in self.samples)
        empty = sum(
            not self.store.records[uid].nodules for uid in self.series_uids
        )
        return (
            f'{text}; {empty} without a nodule; {len(self.samples)} samples '
            f'an epoch: {nodules} nodules, {len(self.samples) - nodules} '
            'background'
        )

    def _samples(
        self, background_ratio: float, skip_done: str | Path | None
    ) -> list[tuple[str | None, int | None]]:
        """(series uid, nodule) of every sample; (None, None) = background."""
        if self.split != 'train':
            done = set()
            if skip_done is not None:
                done = {path.stem for path in Path(skip_done).glob('*.json')}
            return [(u, None) for u in self.series_uids if u not in done]
        samples: list[tuple[str | None, int | None]] = [
            (uid, number)
            for uid in self.series_uids
            for number in range(len(self.store.records[uid].nodules))
        ]
        if not samples:
            raise ConfigError(
                f'train: none of the {len(self.series_uids)} training scans '
                f'in {self.store.root} has a nodule; check test_subsets and '
                'val_subsets.'
            )
        return samples + [(None, None)] * round(
            background_ratio * len(samples)
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        """One sample; ``index`` may carry ``epoch`` and ``pos``.

        Raises:
            LungdetError: The case is broken; the message starts with series,
                epoch and position. No other sample takes its place.
        """
        epoch = getattr(index, 'epoch', 0)
        pos = getattr(index, 'pos', int(index))
        index = int(index)
        rng = np.random.default_rng(
            seed_sequence(
                self.seed, SeedStream.DETECTION_SAMPLE, epoch, pos, index
            )
        )
        uid, nodule = self.samples[index]
        kind = 'nodule'
        if uid is None:
            uid = self.series_uids[rng.integers(len(self.series_uids))]
            kind = 'lung' if rng.random() < self.lung_fraction else 'anywhere'
        results: dict[str, Any] = {
            'store': self.store,
            'record': self.store.records[uid],
            'kind': kind,
            'nodule': nodule,
            'rng': rng,
            'sample_key': f'{uid} epoch {epoch} position {pos} {kind}',
        }
        return run_pipeline(self.pipeline, results)


def run_pipeline(pipeline: Compose, results: dict[str, Any]) -> dict:
    """A sample, or an error that starts with its ``sample_key``."""
    try:
        return pipeline(results)
    except LungdetError as error:
        raise type(error)(f'{results["sample_key"]}: {error}') from error
    except Exception as error:
        raise RuntimeError(
            f'{results["sample_key"]}: {type(error).__name__}: {error}'
        ) from error
