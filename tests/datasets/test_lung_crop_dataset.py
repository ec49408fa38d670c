from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from lungdet.datasets import LungCropDataset
from lungdet.engine import ExactSampler, Key
from lungdet.errors import ConfigError, SeriesError
from lungdet.io.case_store import rebuild_index
from tests.datasets.stores import lungs_store, write_lungs

WINDOW = (-1200, 600)
GENESIS = (
    {'type': 'RepeatedFlip3D'},
    {'type': 'LocalPixelShuffle'},
    {'type': 'NonLinearIntensity'},
    {'type': 'Painting'},
)


def build(
    root: Path, split: str = 'train', *distort: dict, **options: object
) -> LungCropDataset:
    load = {'type': 'LoadLungCrop', 'size': (16, 32, 32)}
    return LungCropDataset(
        root,
        split,
        pipeline=[load, *distort, {'type': 'PackPair'}],
        window=options.pop('window', WINDOW),
        **options,
    )


def test_training_reads_training_folds_only(lungs: Path) -> None:
    data = build(lungs)

    assert data.series_uids == ['1.1', '1.2']
    assert data.metainfo['folds'] == 'train'
    assert data.metainfo['test_series'] == ['1.4']
    assert data.metainfo['test_patients'] == ['P1.4']
    assert data.metainfo['patients'] == ['P1.1', 'P1.2']
    assert build(lungs, 'val').series_uids == ['1.3']
    named = build(lungs, test_series=['1.1'], val_series=['1.2'])
    assert named.series_uids == ['1.3', '1.4']


def test_all_folds_need_the_flag_and_warn(lungs: Path) -> None:
    with pytest.warns(UserWarning, match='all 4 scans, 1 of them of the test'):
        data = build(lungs, folds='all')

    assert data.series_uids == ['1.1', '1.2', '1.3', '1.4']
    assert data.metainfo['series_uids'] == data.series_uids
    assert data.metainfo['folds'] == 'all'
    with pytest.raises(ConfigError, match="folds: 'test'"):
        build(lungs, folds='test')


def test_any_prepared_data_will_do(tmp_path: Path) -> None:
    write_lungs(tmp_path, '1.1', None)
    rebuild_index(tmp_path)

    def build_all(split: str = 'train', **options: object) -> LungCropDataset:
        return build(tmp_path, split, test_subsets=(), **options)

    assert build_all().series_uids == ['1.1']
    with pytest.raises(ConfigError, match='val: none of the 1 scans'):
        build_all('val')
    with pytest.raises(ConfigError, match='window: not given'):
        build_all(window=None)


def test_training_pairs_are_new_each_epoch_and_validation_fixed(
    tmp_path: Path,
) -> None:
    root = lungs_store(tmp_path)
    train = build(root, 'train', *GENESIS, crops_per_scan=2)
    val = build(root, 'val', *GENESIS, crops_per_scan=3)

    def same(a: dict, b: dict) -> bool:
        return torch.equal(a['inputs'], b['inputs'])

    assert len(train) == 4 and len(val) == 3
    assert same(train[Key(1, 2, 3)], train[Key(1, 2, 3)])
    assert not same(train[Key(1, 2, 3)], train[Key(1, 3, 3)])
    assert not same(train[Key(1, 2, 3)], train[Key(1, 2, 2)])
    assert same(val[Key(1, 2, 3)], val[Key(1, 5, 0)])
    assert not same(val[1], val[2])
    seeded = build(root, 'val', *GENESIS, crops_per_scan=3, seed=1)
    assert not same(val[1], seeded[1])
    # fixed by scan and number, not by what else is in the folder
    write_lungs(root, '0.9', 8)
    rebuild_index(root)
    more = build(root, 'val', *GENESIS, crops_per_scan=3)
    index = more.series_uids.index('1.3') * 3 + 1
    assert same(val[1], more[index])


def test_pairs_do_not_depend_on_the_workers(lungs: Path) -> None:
    data = build(lungs, 'train', *GENESIS, crops_per_scan=3)

    def batches(workers: int) -> list[torch.Tensor]:
        sampler = ExactSampler(data, seed=5)
        sampler.set_epoch(2)
        loader = DataLoader(
            pickle.loads(pickle.dumps(data)),
            batch_size=2,
            sampler=sampler,
            num_workers=workers,
            collate_fn=pseudo_collate,
        )
        return [x for batch in loader for x in batch['inputs']]

    for one, two in zip(batches(0), batches(2), strict=True):
        assert torch.equal(one, two)


def test_broken_case_names_the_crop(tmp_path: Path) -> None:
    root = lungs_store(tmp_path)
    (root / 'cases' / '1.1.image.b2nd').unlink()

    with pytest.raises(SeriesError, match=r'1\.1 epoch 0 position 0: '):
        build(root)[0]


def test_each_crop_has_its_seed_for_the_model(lungs: Path) -> None:
    """A constant would hide the same blocks of every crop."""
    data = build(lungs, crops_per_scan=4)
    keys = [Key(k, epoch, k) for epoch in range(2) for k in range(8)]

    seeds = [data[key]['data_samples'].mask_seed for key in keys]

    assert len(set(seeds)) == len(keys)
    assert seeds == [data[key]['data_samples'].mask_seed for key in keys]
