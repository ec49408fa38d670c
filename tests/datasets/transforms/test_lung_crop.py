from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.datasets import LoadLungCrop, LungCropDataset
from lungdet.datasets.transforms.lung_crop import tissue_fraction
from lungdet.engine import Key
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore, rebuild_index
from tests.datasets.stores import LUNGS_GRID, write_lungs
from tests.oracles.genesis_literal import literal_tissue_score

ANY_CROP = {'max_tissue': None, 'min_lung': 0.0}


def build(root: Path, *distort: dict, **load: object) -> LungCropDataset:
    options = {'type': 'LoadLungCrop', 'size': (16, 32, 32), **load}
    return LungCropDataset(
        root,
        'train',
        pipeline=[options, *distort, {'type': 'PackPair'}],
        window=(-1200, 600),
        crops_per_scan=60,
        test_subsets=(),
    )


def draw_starts(load: LoadLungCrop, root: Path, draws: int) -> np.ndarray:
    """First voxels (draws, 3) of crops of one scan."""
    store = CaseStore(root)
    sample = {'store': store, 'record': store.records['1.1']}
    return np.array(
        [
            load.draw(np.random.default_rng(seed), sample).start
            for seed in range(draws)
        ]
    )


def test_crop_is_the_normalized_case_at_its_affine(lungs: Path) -> None:
    data = build(lungs, {'type': 'RepeatedFlip3D', 'prob': 0.9})
    case = data.store.read('1.1', 'image').astype(float)
    for index in range(12):
        sample = data[index]
        target = sample['targets'][0].numpy()
        crop = Geometry(
            target.shape, np.asarray(sample['data_samples'].affine)
        )
        corners = np.array([[0, 0, 0], [15, 31, 31], [3, 20, 9]])
        positions = LUNGS_GRID.to_index(crop.to_world(corners))
        voxels = np.rint(positions).astype(int)
        np.testing.assert_allclose(positions, voxels, atol=1e-6)
        hu = case[tuple(voxels.T)]
        np.testing.assert_allclose(
            target[tuple(corners.T)],
            np.clip((hu + 1200) / 1800, 0, 1),
            rtol=1e-6,
        )
        assert torch.equal(sample['inputs'], sample['targets'])
        assert not sample['masked'].any()


def test_tissue_fraction_is_the_literal_filter(
    rng: np.random.Generator,
) -> None:
    hu = rng.integers(-400, 100, (7, 5, 6)).astype(np.int16)
    hu[2, 2, 2], hu[3, 2, 2] = -150, -151  # the threshold itself is tissue

    # the literal rule looks two slices further, the second scores nothing
    assert tissue_fraction(hu[:-1]) == pytest.approx(literal_tissue_score(hu))
    # one tissue voxel in the slice after the crop: half a voxel of 2 * 1 * 1
    column = np.array([-900, -900, 0]).reshape(3, 1, 1)
    assert tissue_fraction(column) == 0.25


def test_crops_hold_little_tissue(lungs: Path) -> None:
    data, free = build(lungs), build(lungs, **ANY_CROP)

    for index in range(40):
        hu = data[index]['targets'] * 1800 - 1200
        assert float((hu >= -150).float().mean()) <= 0.15 + 1e-6
    fractions = [
        float((free[k]['targets'] > 0.6).float().mean()) for k in range(40)
    ]
    assert max(fractions) > 0.4  # any crop about a lung voxel


def lung_fraction(data: LungCropDataset, sample: dict) -> float:
    """Fraction of a crop in the lung field, read at the crop's affine."""
    uid = sample['data_samples'].series_uid
    lungs = data.store.read(uid, 'lungs')
    shape = sample['targets'].shape[1:]
    crop = Geometry(shape, np.asarray(sample['data_samples'].affine))
    first = np.rint(LUNGS_GRID.to_index(crop.to_world(np.zeros((1, 3)))))[0]
    z, y, x = (
        slice(a, a + n) for a, n in zip(first.astype(int).tolist(), shape)
    )
    return float(lungs[z, y, x].mean())


def test_lungs_of_a_crop_follow_its_flips(tmp_path: Path) -> None:
    image = np.full(LUNGS_GRID.shape, 60, dtype=np.int16)
    image[10:50, 10:60, 5:40] = -900  # the lungs
    write_lungs(tmp_path, '1.1', 0, image=image)
    rebuild_index(tmp_path)
    flip = {'type': 'RepeatedFlip3D', 'prob': 1.0, 'max_flips': 1}
    for distort in ((), (flip,)):
        data = build(tmp_path, *distort, **ANY_CROP)
        for index in range(10):
            pair = data[index]
            air = pair['targets'] < 0.5
            assert torch.equal(pair['lungs'], air)
            assert 0 < air.sum() < air.numel()


def test_crops_hold_enough_lung(lungs: Path) -> None:
    fractions = {}
    for least in (0.0, 0.3):
        data = build(lungs, max_tissue=None, min_lung=least)
        fractions[least] = [lung_fraction(data, data[k]) for k in range(60)]

    assert min(fractions[0.3]) >= 0.3
    assert sum(fraction < 0.3 for fraction in fractions[0.0]) > 5


def test_no_scan_is_left_out_where_no_crop_is_within_the_limits(
    tmp_path: Path,
) -> None:
    image = np.full(LUNGS_GRID.shape, 60, dtype=np.int16)
    image[:, :, 15:25] = -900  # every crop has more than 15 % tissue
    write_lungs(tmp_path, '1.1', 0, image=image)
    rebuild_index(tmp_path)

    fractions = [
        float((build(tmp_path)[Key(0, e, 0)]['targets'] > 0.6).float().mean())
        for e in range(8)
    ]

    # at best 22 of 32 columns are tissue; one draw in three shows all ten
    # columns of air, and one of 50 draws does
    assert fractions == pytest.approx([22 / 32] * 8)


def test_lung_voxels_position_the_crop(lungs: Path) -> None:
    """Without jitter the middle of the crop is a lung voxel."""
    load = LoadLungCrop(size=(2, 2, 2), jitter=0.0, **ANY_CROP)
    middles = draw_starts(load, lungs, 200) + 1

    low, high = np.min(middles, 0), np.max(middles, 0)
    assert (low >= [10, 10, 5]).all() and (high < [50, 60, 40]).all()
    assert (low <= [12, 12, 7]).all() and (high >= [48, 58, 38]).all()


def test_jitter_moves_the_crop_away_from_its_lung_voxel(lungs: Path) -> None:
    """Up to half a side: 4, 4 and 8 voxels beyond the lung field."""
    size = np.array([8, 8, 16])
    load = LoadLungCrop(size, **ANY_CROP)
    middles = draw_starts(load, lungs, 400) + size // 2

    # the outermost lung voxel and the whole jitter seldom come together
    after = np.max(middles, 0) - [49, 59, 39]
    assert (after >= [2, 2, 4]).all() and (after <= [4, 4, 8]).all()
    before = ([10, 10, 5] - np.min(middles, 0))[:2]  # x ends at the case
    assert (before >= 2).all() and (before <= 4).all()


def test_case_smaller_than_the_crop_is_padded_all_round(lungs: Path) -> None:
    data = build(lungs, size=(80, 80, 96), **ANY_CROP)

    target = data[0]['targets'][0]

    # 60 of 80 slices, 70 of 80 rows, 80 of 96 columns; 0 HU beyond
    beyond = 1200 / 1800
    assert target[:10].eq(beyond).all() and target[70:].eq(beyond).all()
    assert target[10:70, 5:75, 8:48].lt(0.4).all()
