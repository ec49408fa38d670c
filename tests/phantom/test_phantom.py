"""The phantoms' statistics against what was measured on real scans.

The bands are those of 3.3 and 3.6 of the recipe the generator was written
from: ranges seen on real CT, computed the same way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

from lungdet.io.lidc import consensus_masks, read_lidc_xml
from lungdet.io.luna16 import read_annotations
from lungdet.phantom import Phantom, make_phantom
from lungdet.phantom.chest import Chest, draw_body, make_chest
from lungdet.phantom.nodules import draw_diameter
from lungdet.phantom.write import reader_xml
from lungdet.prepare.case import prepare_case, resample_nearest

SEEDS = (11, 12, 13)


@pytest.fixture(scope='module')
def phantoms() -> list[Phantom]:
    return [
        make_phantom([s], size='small', series_uid=f'1.{s}', num_nodules=2)
        for s in SEEDS
    ]


@pytest.fixture(scope='module')
def at_1mm(phantoms: list[Phantom]) -> list[tuple]:
    cases = []
    for phantom in phantoms:
        record, arrays = prepare_case(
            phantom.volume, annotations=[], excluded=[]
        )
        lungs = resample_nearest(
            np.isin(phantom.lungs, (3, 4)).astype(np.uint8),
            phantom.volume.geometry,
            record.geometry,
        )
        inner = ndimage.distance_transform_edt(lungs) > 4
        cases.append((arrays['image'].astype(np.float32), inner))
    return cases


def test_same_seed_same_voxels() -> None:
    a, b = (make_phantom([5, 2], size='small') for _ in range(2))
    other = make_phantom([5, 3], size='small')

    np.testing.assert_array_equal(a.volume.array, b.volume.array)
    assert a.annotations == b.annotations
    assert (
        a.volume.array.shape != other.volume.array.shape
        or (a.volume.array != other.volume.array).any()
    )


def test_diameters_follow_luna16(
    test_data: Path, rng: np.random.Generator
) -> None:
    table = read_annotations(test_data / 'froc-oracles' / 'annotations.csv')
    real = [a.diameter_mm for found in table.values() for a in found]

    distance = stats.ks_2samp(real, draw_diameter(rng, 20_000)).statistic

    assert len(real) == 1186
    assert distance < 0.05  # .035 for the fit; a plain lognormal has .111


def test_parenchyma_median_and_slow_variation(at_1mm: list[tuple]) -> None:
    for image, inner in at_1mm:
        tissue = inner & (image > -985) & (image < -650)
        assert -910 <= np.median(image[tissue]) <= -800
        weight = ndimage.gaussian_filter(tissue.astype(np.float32), (0, 4, 4))
        smooth = ndimage.gaussian_filter(
            np.where(tissue, image, 0).astype(np.float32), (0, 4, 4)
        ) / np.maximum(weight, 1e-3)
        assert 18 <= smooth[tissue & (weight > 0.6)].std() <= 45


def test_share_of_vessels_in_the_inner_lung(at_1mm: list[tuple]) -> None:
    for image, inner in at_1mm:
        assert 0.03 <= (image[inner] > -500).mean() <= 0.07


def drawn_chests() -> list[Chest]:
    return [make_chest(np.random.default_rng(s), 'small') for s in SEEDS]


def test_centreline_per_litre() -> None:
    for chest in drawn_chests():
        voxel_l = np.prod(chest.body.geometry.spacing) / 1e6
        litres = float(chest.lungs.sum()) * voxel_l
        metres = chest.vessel_mm / 1000
        assert 3 <= metres / litres <= 6


def test_tissue_values_and_noise_are_drawn_in_the_bands() -> None:
    for seed in range(200):
        body = draw_body(np.random.default_rng(seed), 'full')
        hu = body.hu
        assert 30 <= hu['soft'] <= 70
        assert -115 <= hu['fat'] <= -95
        assert 150 <= hu['marrow'] <= 350
        assert 500 <= hu['cortex'] <= 1200
        assert -1000 <= hu['lumen'] <= -940
        assert 8 <= body.noise <= 60
        assert body.smooth == 0 or body.noise <= 40
        assert body.smooth == 2 or body.noise >= 20
        assert 1.0 <= body.geometry.spacing[0] <= 2.5
        assert 0.46 <= body.geometry.spacing[1] <= 0.98


def test_noise_in_soft_tissue(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        array = phantom.volume.array
        z, y, x = (n // 2 for n in array.shape)
        # a block of the chest wall's muscle or the heart, free of edges
        soft = ndimage.uniform_filter(array[z].astype(np.float32), 9)
        flat = np.abs(soft - 50) < 25
        flat = ndimage.binary_erosion(flat, iterations=6)
        if flat.sum() < 200:
            continue
        residual = array[z] - ndimage.gaussian_filter(
            array[z].astype(np.float32), 2.5
        )
        found = residual[flat].std()
        assert 0.5 * phantom.noise <= found <= 1.3 * phantom.noise


def test_mask_and_annotation_agree(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        voxel = np.prod(phantom.volume.geometry.spacing)
        assert len(phantom.annotations) == 2
        for number, found in enumerate(phantom.annotations, start=1):
            mask = phantom.masks == number
            diameter = (6 * mask.sum() * voxel / np.pi) ** (1 / 3)
            assert diameter == pytest.approx(
                found.diameter_mm, rel=0.15, abs=0.6
            )
            at = phantom.volume.geometry.to_index(np.array([found.center_mm]))[
                0
            ]
            assert mask[tuple(np.rint(at).astype(int))]


def test_reader_xml_gives_the_masks_back(
    phantoms: list[Phantom], tmp_path: Path
) -> None:
    for phantom in phantoms:
        path = tmp_path / 'x.xml'
        path.write_text(reader_xml(phantom))

        reading = read_lidc_xml(path)
        labels, nodules = consensus_masks(reading, phantom.volume.geometry)

        assert reading.num_readers == 4
        assert len(nodules) == len(phantom.annotations)
        for number in range(1, len(nodules) + 1):
            truth = phantom.masks == number
            found = labels == labels[truth].max()
            dice = 2 * (truth & found).sum() / (truth.sum() + found.sum())
            assert dice > 0.85


def test_excluded_list_holds_look_alikes_and_the_nodules_own_marks(
    phantoms: list[Phantom],
) -> None:
    for phantom in phantoms:
        marked = {f.center_mm for f in phantom.excluded}
        assert {a.center_mm for a in phantom.annotations} <= marked
        assert any(f.diameter_mm is None for f in phantom.excluded)
