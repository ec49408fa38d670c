"""Several folders of cases in one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.datasets.case_dataset import CaseDataset
from lungdet.datasets.folds import patients_of
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.registry import DATASETS
from lungdet.seeds import Key


@DATASETS.register_module()
class ConcatCases:
    """Data sets of cases one after the other, such as scans and phantoms.

    Each contributes all its samples to an epoch, so their ``crops`` define the
    mix. The arguments here are passed to every data set, except that one with
    a ``data_root`` takes its folds from its own arguments.

    Args:
        datasets: Dicts of data sets.
        split: ``'train'``; scans are validated and tested from one folder.
        pipeline: Dicts of transforms, for data sets without their own.
        data_root: Folder with ``index.json``, for data sets without one.
        test_subsets: Test subsets of that folder, as in ``CaseDataset``.
        val_subsets: Likewise.
        test_series: Likewise.
        val_series: Likewise.
        held_out_roots: Folders of cases that are tested and are in none of
            the data sets, such as those of `lungdet insert`. Neither their
            scans nor their patients' nodules are trained on.
        seed: Seed of all data sets; the Runner passes the run's seed.

    Attributes:
        datasets: The data sets.
        kinds: For each sample its data set and kind, as text.
        metainfo: As of a ``CaseDataset``, for all together; ``data_root`` is a
            list. ``folds`` is 'all' if it is in one of them.

    Raises:
        ConfigError: As for the data sets; or there is none, the split is
            another than ``'train'``, their spacings
            differ, or a scan or patient is trained on in one and held out in
            another.
    """

    def __init__(
        self,
        datasets: Sequence[Mapping[str, Any]],
        split: str = 'train',
        *,
        pipeline: Sequence[dict] = (),
        data_root: str | Path | None = None,
        test_subsets: Sequence[int] = (9,),
        val_subsets: Sequence[int] = (8,),
        test_series: Sequence[str] | None = None,
        val_series: Sequence[str] | None = None,
        held_out_roots: Sequence[str | Path] = (),
        seed: int = 0,
    ) -> None:
        if not datasets:
            raise ConfigError('datasets: none is given; list some.')
        if split != 'train':
            raise ConfigError(
                f'ConcatCases: split {split!r}; it is for training only. '
                'Validate and test with a data set of one folder.'
            )
        every = {'split': split, 'pipeline': pipeline, 'seed': seed}
        of_root = {
            'data_root': data_root,
            'test_subsets': test_subsets,
            'val_subsets': val_subsets,
            'test_series': test_series,
            'val_series': val_series,
        }
        self.datasets: list[CaseDataset] = [
            DATASETS.build(
                {**every, **({} if 'data_root' in one else of_root), **one}
            )
            for one in datasets
        ]
        self.ends = np.cumsum([len(dataset) for dataset in self.datasets])
        held_out = _check_folds(self.datasets, held_out_roots)
        for dataset in self.datasets:
            dataset.hold_out(held_out)
        self.metainfo = _merged([d.metainfo for d in self.datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict:
        """One sample, as ``CaseDataset`` gives it."""
        number = int(np.searchsorted(self.ends, int(index), side='right'))
        dataset = self.datasets[number]
        inner = int(index) - int(self.ends[number]) + len(dataset)
        if isinstance(index, Key):
            return dataset[Key(inner, index.epoch, index.pos)]
        return dataset[inner]

    @property
    def kinds(self) -> list[str]:
        return [
            f'{number} {kind}'
            for number, dataset in enumerate(self.datasets)
            for kind in dataset.kinds
        ]

    @property
    def largest_sample(self) -> int:
        """Index of a sample that takes as much memory as any of an epoch; all
        are crops of one size."""
        return 0

    @property
    def scans_to_mine(self) -> list[tuple[CaseStore, str]]:
        """Those of the data sets, see ``CaseDataset``."""
        return [
            scan for dataset in self.datasets for scan in dataset.scans_to_mine
        ]

    def follow_bank(self, folder: Path) -> None:
        """Let every data set take its hard negatives from a folder."""
        for dataset in self.datasets:
            dataset.follow_bank(folder)


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The metainfo of several data sets together."""
    spacings = sorted({part['spacing_mm'] for part in parts})
    if len(spacings) > 1:
        raise ConfigError(
            f'datasets: their cases have spacings of {spacings} mm, and a '
            'network is trained on one; prepare them with the same.'
        )
    names = ('series_uids', 'patients', 'test_series', 'test_patients')
    lists = {
        name: list(dict.fromkeys(v for part in parts for v in part[name]))
        for name in names
    }
    merged = {
        'data_root': [part['data_root'] for part in parts],
        'split': parts[0]['split'],
        **lists,
        'spacing_mm': spacings[0],
    }
    folds = [part['folds'] for part in parts if 'folds' in part]
    if folds:  # of data without labels
        merged['folds'] = 'all' if 'all' in folds else folds[0]
    return merged


def _check_folds(
    datasets: Sequence[CaseDataset], held_out_roots: Sequence[str | Path]
) -> dict[str, str]:
    """Refuse what one data set trains on and another place holds out.

    Returns:
        For each series and patient held out, where that is said.
    """
    held_out: dict[str, str] = {}
    for dataset in datasets:
        for part in ('val', 'test'):
            for name in dataset.names_of(part):
                held_out[name] = f'{part} of {dataset.store.root}'
    for root in held_out_roots:
        records = CaseStore(root).records
        for name in [*records, *patients_of(records, [*records])]:
            held_out[name] = f'{root}, held_out_roots'
    for dataset in datasets:
        for name in dataset.names_of('train'):
            if name in held_out:
                raise ConfigError(
                    f'datasets: {name} is in {held_out[name]} and trained on '
                    f'in {dataset.store.root}; hold it out in both, by '
                    'test_series or val_series.'
                )
    return held_out
