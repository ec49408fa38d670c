"""Base of the data sets of prepared cases: folds, random draws, pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose

from lungdet.datasets.folds import (
    fold_metainfo,
    patients_of,
    split_series,
)
from lungdet.datasets.transforms.base import Sample
from lungdet.errors import ConfigError, LungdetError
from lungdet.io.case_store import CaseStore
from lungdet.registry import TRANSFORMS
from lungdet.seeds import Key, SeedStream, seed_sequence


class CaseDataset(ABC):
    """Samples of one part of a folder of prepared cases.

    A subclass defines how many samples there are and what each starts from.

    Args:
        data_root: Folder with ``index.json``.
        split: One of ``splits``.
        pipeline: Dicts of transforms.
        test_subsets: LUNA16 subsets of the test.
        val_subsets: Subsets for choosing a checkpoint; may be empty.
        test_series: Series uids that replace ``test_subsets``.
        val_series: Series uids that replace ``val_subsets``.
        seed: All random draws depend on it and the sample's position; the
            Runner passes the run's seed.

    Attributes:
        splits: Supported values of ``split``.
        store: The prepared cases.
        parts: Series uids of ``'train'``, ``'val'`` and ``'test'``.
        series_uids: The scans that are sampled.
        metainfo: What checkpoints, leakage checks and tables need.
        held_out: Series uids and patients whose data no training sample
            contains.

    Raises:
        ConfigError: Unknown split or series, or a series or patient on both
            sides of a split.
    """

    splits: tuple[str, ...] = ('train', 'val', 'test')

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
        seed: int = 0,
    ) -> None:
        if split not in self.splits:
            raise ConfigError(
                f'split: {split!r}; choose one of {self.splits}.'
            )
        self.split = split
        self.bank_folder: Path | None = None
        self.seed = seed
        self.store = CaseStore(data_root)
        self.pipeline = Compose([TRANSFORMS.build(t) for t in pipeline])
        self.subsets = {'test': test_subsets, 'val': val_subsets}
        self.named_series = {'test': test_series, 'val': val_series}
        self.parts = split_series(
            self.store.records,
            test_subsets=test_subsets,
            val_subsets=val_subsets,
            test_series=test_series,
            val_series=val_series,
        )
        self.series_uids = self.select_series()
        self.metainfo: dict[str, Any] = fold_metainfo(
            self.store, split, self.series_uids, self.parts['test']
        )
        self.hold_out([*self.names_of('val'), *self.names_of('test')])

    def select_series(self) -> list[str]:
        """Series uids that are sampled: those of the split."""
        return self.parts[self.split]

    def names_of(self, part: str) -> list[str]:
        """Series, and patients where known, of a part of the scans."""
        uids = self.parts[part]
        return [*uids, *patients_of(self.store.records, uids)]

    def hold_out(self, names: Iterable[str]) -> None:
        """Keep series and patients out of what transforms add to samples.

        ``metainfo`` lists whatever they may add as trained on.

        Args:
            names: Those of the validation and the test, also of other folders.
        """
        self.held_out = frozenset(names)
        if self.split != 'train':
            return
        added = {
            name
            for transform in self.pipeline.transforms
            for name in transform.adds(self.held_out)
        }
        trained = patients_of(self.store.records, self.series_uids)
        self.metainfo['patients'] = sorted({*trained, *added})

    @property
    def kinds(self) -> list[str]:
        """The kind of each sample, which a sampler may spread evenly."""
        return [self.split] * len(self)

    @property
    def scan_voxels(self) -> list[int]:
        """Voxels of each sample that is a whole scan; 0 for crops, which are
        all of one size in an epoch."""
        return [0] * len(self)

    @property
    def scans_to_mine(self) -> list[tuple[CaseStore, str]]:
        """Store and series uid of the scans with mined crops."""
        return []

    def follow_bank(self, folder: Path) -> None:
        """Take hard negatives from the banks in a folder, if they are used."""
        self.bank_folder = folder

    @abstractmethod
    def __len__(self) -> int:
        """Samples of an epoch."""

    @abstractmethod
    def start_sample(self, index: int, epoch: int, position: int) -> Sample:
        """The sample that enters the pipeline.

        Args:
            index: Index of the sample, below ``len(self)``.
            epoch: From 0.
            position: Position of the sample in the order of the epoch.
        """

    def __getitem__(self, index: int) -> dict:
        """One sample; of epoch 0 unless the index is a ``Key``.

        Raises:
            LungdetError: The case is broken; the message starts with
                ``sample_key``. No other sample replaces it.
        """
        epoch, position = 0, int(index)
        if isinstance(index, Key):
            epoch, position = index.epoch, index.pos
        sample = self.start_sample(int(index), epoch, position)
        sample['epoch'] = epoch
        sample['held_out'] = self.held_out
        try:
            return self.pipeline(sample)
        except LungdetError as error:
            raise type(error)(f'{sample["sample_key"]}: {error}') from error
        except Exception as error:
            raise RuntimeError(
                f'{sample["sample_key"]}: {type(error).__name__}: {error}'
            ) from error

    def rng(self, stream: SeedStream, *position: int) -> np.random.Generator:
        """Generator of one sample, independent of earlier draws."""
        return np.random.default_rng(
            seed_sequence(self.seed, stream, *position)
        )
