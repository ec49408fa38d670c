from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from lungdet.datasets import LoadLungCrop, LungCropDataset
from lungdet.datasets.transforms.pairs import tissue_share
from lungdet.engine import ExactSampler, Key
from lungdet.errors import ConfigError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.case_store import rebuild_index, write_case
from lungdet.structures import CaseRecord
from tests.oracles.genesis_literal import literal_tissue_score

SHAPE = (60, 70, 80)
GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(1, 1, 1), origin_xyz=(5, -7, 11)
)
WINDOW = (-1200, 600)


def write(
    root: Path,
    uid: str,
    subset: int | None,
    *,
    image: np.ndarray | None = None,
    spacing: float = 1.0,
) -> None:
    """Lung in the half x < 40, soft tissue in the other."""
    lungs = np.zeros(SHAPE, dtype=np.uint8)
    lungs[10:50, 10:60, 5:40] = 1
    if image is None:
        rng = np.random.default_rng(len(uid))
        image = rng.normal(-870, 20, SHAPE).astype(np.int16)
        image[:, :, 40:] = 60
    record = CaseRecord(
        uid,
        subset,
        GRID,
        GRID,
        spacing,
        [],
        [],
        lung_mask='computed',
        patient_id=f'P{uid}',
    )
    write_case(root, record, {'image': image, 'lungs': lungs})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for uid, subset in (('1.1', 0), ('1.2', 3), ('1.3', 8), ('1.4', 9)):
        write(tmp_path, uid, subset)
    rebuild_index(tmp_path)
    return tmp_path


def build(
    root: Path, split: str = 'train', *distort: dict, **options: object
) -> LungCropDataset:
    load = {'type': 'LoadLungCrop', 'size': (16, 32, 32)}
    load |= options.pop('load', {})
    return LungCropDataset(
        root,
        split,
        pipeline=[load, *distort, {'type': 'PackPair'}],
        window=options.pop('window', WINDOW),
        **options,
    )


GENESIS = (
    {'type': 'RepeatedFlip3D'},
    {'type': 'LocalPixelShuffle'},
    {'type': 'NonLinearIntensity'},
    {'type': 'Painting'},
)


def test_crop_is_the_normalized_case_at_its_affine(
    root: Path,
) -> None:
    data = build(root, 'train', {'type': 'RepeatedFlip3D', 'prob': 0.9})
    case = data.store.read('1.1', 'image').astype(float)
    for index in range(12):
        sample = data[index]
        target = sample['targets'][0].numpy()
        crop = Geometry(
            target.shape, np.asarray(sample['data_samples'].affine)
        )
        corners = np.array([[0, 0, 0], [15, 31, 31], [3, 20, 9]])
        found = GRID.to_index(crop.to_world(corners))
        places = np.rint(found).astype(int)
        np.testing.assert_allclose(found, places, atol=1e-6)
        hu = case[tuple(places.T)]
        np.testing.assert_allclose(
            target[tuple(corners.T)],
            np.clip((hu + 1200) / 1800, 0, 1),
            rtol=1e-6,
        )
        assert torch.equal(sample['inputs'], sample['targets'])
        assert not sample['masked'].any()


def test_tissue_share_is_the_literal_filter(rng: np.random.Generator) -> None:
    hu = rng.integers(-400, 100, (7, 5, 6)).astype(np.int16)
    hu[2, 2, 2], hu[3, 2, 2] = -150, -151  # the threshold itself is tissue

    # the literal rule looks two slices further, the second scores nothing
    assert tissue_share(hu[:-1]) == pytest.approx(literal_tissue_score(hu))
    # one tissue voxel in the slice after the crop: half a voxel of 2 * 1 * 1
    assert tissue_share(np.array([-900, -900, 0]).reshape(3, 1, 1)) == 0.25


def test_crops_hold_lung_and_little_tissue(root: Path) -> None:
    data = build(root, crops_per_scan=40)

    for index in range(40):
        target = data[index]['targets']
        hu = target * 1800 - 1200
        assert float((hu >= -150).float().mean()) <= 0.15 + 1e-6
    free = build(
        root, crops_per_scan=40, load={'max_tissue': None, 'min_lung': 0.0}
    )
    shares = [
        float((free[k]['targets'] > 0.6).float().mean()) for k in range(40)
    ]
    assert max(shares) > 0.4  # any crop about a lung voxel


def test_no_scan_is_left_out_where_the_wishes_cannot_be_met(
    tmp_path: Path,
) -> None:
    image = np.full(SHAPE, 60, dtype=np.int16)
    image[:, :, 15:25] = -900  # every crop has more than 15 % tissue
    write(tmp_path, '1.1', 0, image=image)
    rebuild_index(tmp_path)

    shares = [
        float((build(tmp_path)[Key(0, e, 0)]['targets'] > 0.6).float().mean())
        for e in range(8)
    ]

    # at best 22 of 32 columns are tissue; one draw in three shows all ten
    # columns of air, and 50 draws find one
    assert shares == pytest.approx([22 / 32] * 8)


def draw_starts(place: LoadLungCrop, root: Path, draws: int) -> np.ndarray:
    """First voxels (draws, 3) of crops of one scan."""
    store = build(root).store
    record = store.records['1.1']
    return np.array(
        [
            place.draw(
                {
                    'rng': np.random.default_rng(seed),
                    'store': store,
                    'record': record,
                }
            )
            for seed in range(draws)
        ]
    )


def test_lung_voxels_and_jitter_place_the_crop(root: Path) -> None:
    """Without jitter the middle of the crop is a lung voxel."""
    place = LoadLungCrop(
        size=(2, 2, 2), jitter=0.0, max_tissue=None, min_lung=0.0
    )
    starts = draw_starts(place, root, 200) + 1

    low, high = np.min(starts, 0), np.max(starts, 0)
    assert (low >= [10, 10, 5]).all() and (high < [50, 60, 40]).all()
    assert (low <= [12, 12, 7]).all() and (high >= [48, 58, 38]).all()


def test_case_smaller_than_the_crop_is_padded_all_round(root: Path) -> None:
    data = build(
        root,
        load={'size': (80, 80, 96), 'max_tissue': None, 'min_lung': 0.0},
    )

    target = data[0]['targets'][0]

    # 60 of 80 slices, 70 of 80 rows, 80 of 96 columns; 0 HU beyond
    beyond = 1200 / 1800
    assert target[:10].eq(beyond).all() and target[70:].eq(beyond).all()
    assert target[10:70, 5:75, 8:48].lt(0.4).all()


def test_training_sees_training_folds_only(root: Path) -> None:
    data = build(root)

    assert data.series_uids == ['1.1', '1.2']
    assert data.metainfo['folds'] == 'train'
    assert data.metainfo['test_series'] == ['1.4']
    assert data.metainfo['test_patients'] == ['P1.4']
    assert data.metainfo['patients'] == ['P1.1', 'P1.2']
    assert build(root, 'val').series_uids == ['1.3']
    named = build(root, test_series=['1.1'], val_series=['1.2'])
    assert named.series_uids == ['1.3', '1.4']


def test_all_folds_need_the_flag_and_warn(root: Path) -> None:
    with pytest.warns(UserWarning, match='all 4 scans, 1 of them of the test'):
        data = build(root, folds='all')

    assert data.series_uids == ['1.1', '1.2', '1.3', '1.4']
    assert data.metainfo['folds'] == 'all'
    with pytest.raises(ConfigError, match="folds: 'test'"):
        build(root, folds='test')


def test_any_prepared_data_will_do(tmp_path: Path) -> None:
    """Without subsets every scan is for training."""
    write(tmp_path, '1.1', None)
    rebuild_index(tmp_path)

    assert build(tmp_path).series_uids == ['1.1']
    with pytest.raises(ConfigError, match='val: none of the 1 scans'):
        build(tmp_path, 'val')
    with pytest.raises(ConfigError, match='window: not given'):
        build(tmp_path, window=None)


def test_training_pairs_are_new_each_epoch_and_validation_fixed(
    root: Path,
) -> None:
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
    write(root, '0.9', 8)
    rebuild_index(root)
    more = build(root, 'val', *GENESIS, crops_per_scan=3)
    place = more.series_uids.index('1.3') * 3 + 1
    assert same(val[1], more[place])


def test_pairs_do_not_depend_on_the_workers(root: Path) -> None:
    data = build(root, 'train', *GENESIS, crops_per_scan=3)

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


def test_broken_case_names_the_crop(root: Path) -> None:
    (root / 'cases' / '1.1.image.b2nd').unlink()

    with pytest.raises(SeriesError, match=r'1\.1 epoch 0 position 0: '):
        build(root)[0]


def lung_share(data: LungCropDataset, sample: dict) -> float:
    """Part of a crop in the lung field, read at the crop's affine."""
    uid = sample['data_samples'].series_uid
    lungs = data.store.read(uid, 'lungs')
    shape = sample['targets'].shape[1:]
    crop = Geometry(shape, np.asarray(sample['data_samples'].affine))
    first = np.rint(GRID.to_index(crop.to_world(np.zeros((1, 3)))))[0]
    z, y, x = (
        slice(a, a + n) for a, n in zip(first.astype(int).tolist(), shape)
    )
    return float(lungs[z, y, x].mean())


def test_crops_hold_the_wished_part_of_lung(root: Path) -> None:
    shares = {}
    for wish in (0.0, 0.3):
        load = {'max_tissue': None, 'min_lung': wish}
        data = build(root, crops_per_scan=60, load=load)
        shares[wish] = [lung_share(data, data[k]) for k in range(60)]

    assert min(shares[0.3]) >= 0.3
    assert sum(share < 0.3 for share in shares[0.0]) > 5


def test_jitter_moves_the_crop_away_from_its_lung_voxel(root: Path) -> None:
    """Up to half a side: 4, 4 and 8 voxels beyond the lung field."""
    size = np.array([8, 8, 16])
    place = LoadLungCrop(size, max_tissue=None, min_lung=0.0)
    middles = draw_starts(place, root, 400) + size // 2

    # the outermost lung voxel and the whole way seldom come together
    after = np.max(middles, 0) - [49, 59, 39]
    assert (after >= [2, 2, 4]).all() and (after <= [4, 4, 8]).all()
    before = ([10, 10, 5] - np.min(middles, 0))[:2]  # x ends at the case
    assert (before >= 2).all() and (before <= 4).all()


def test_each_crop_has_a_seed_of_its_own_for_the_model(root: Path) -> None:
    """A constant would hide the same blocks of every crop."""
    data = build(root, crops_per_scan=4)
    keys = [Key(k, epoch, k) for epoch in range(2) for k in range(8)]

    seeds = [data[key]['data_samples'].mask_seed for key in keys]

    assert len(set(seeds)) == len(keys)
    assert seeds == [data[key]['data_samples'].mask_seed for key in keys]
