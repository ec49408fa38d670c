from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import AnnotationError, SeriesError
from lungdet.geometry import Geometry, isotropic_geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume, read_image, write_image
from lungdet.phantom import make_phantom, write_luna16_phantoms
from lungdet.prepare import find_lungs, prepare_folder, prepare_luna16
from lungdet.prepare.case import prepare_case, resample_linear
from lungdet.structures import Volume


def test_resampling_agrees_with_simpleitk(rng: np.random.Generator) -> None:
    source = Geometry.from_parts(
        (6, 9, 11),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-3, 4, 5),
        direction=[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]],
    )
    array = rng.integers(-1000, 1000, source.shape).astype(np.int16)
    target = isotropic_geometry(source, 1.0)
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(source.spacing[::-1].tolist())
    image.SetOrigin(source.origin.tolist())
    image.SetDirection(source.direction.ravel().tolist())
    wanted = sitk.GetArrayFromImage(
        sitk.Resample(
            image,
            [int(n) for n in target.shape[::-1]],
            sitk.Transform(),
            sitk.sitkLinear,
            target.origin.tolist(),
            [1.0] * 3,
            target.direction.ravel().tolist(),
            -5000.0,
        )
    )
    inside = wanted > -5000

    found = resample_linear(array, source, target)

    assert inside.mean() > 0.6
    assert np.abs(found[inside] - wanted[inside]).max() <= 0.5 + 1e-2


@pytest.fixture(scope='module')
def phantom() -> object:
    return make_phantom([3, 1], size='small', series_uid='1.9', num_nodules=3)


def test_case_keeps_places_lungs_and_nodules(phantom: object) -> None:
    record, arrays = prepare_case(
        phantom.volume,
        annotations=phantom.annotations,
        excluded=phantom.excluded,
        labels=phantom.masks,
        label_ids=list(range(1, len(phantom.annotations) + 1)),
    )

    assert record.lung_mask == 'computed'
    assert arrays['image'].min() >= -1024
    for nodule, found in zip(record.nodules, phantom.annotations):
        box = np.array(nodule.box)
        assert (box[:3] >= 8).all()
        assert (box[3:] <= np.array(record.geometry.shape) - 8).all()
        mask = arrays['mask'] == nodule.id
        diameter = (6 * mask.sum() / np.pi) ** (1 / 3)
        assert diameter == pytest.approx(found.diameter_mm, rel=0.2, abs=0.7)
        centre = record.geometry.to_world(
            np.argwhere(mask).mean(0, keepdims=True)
        )[0]
        assert np.linalg.norm(centre - found.center_mm) < 1.0
    source = phantom.volume
    for index in ((20, 100, 100), (30, 150, 220)):
        world = source.geometry.to_world(np.array([index]))
        at = record.geometry.to_index(world)[0]
        low = np.floor(at).astype(int)
        near = arrays['image'][tuple(slice(k, k + 2) for k in low)]
        if near.size == 8:
            value = np.clip(source.array[index], -1024, 3071)
            around = source.array[
                index[0] - 1 : index[0] + 2,
                index[1] - 1 : index[1] + 2,
                index[2] - 1 : index[2] + 2,
            ]
            assert around.min() - 1 <= near.mean() <= around.max() + 1, value


def test_lungs_turn_with_the_scan(phantom: object) -> None:
    straight = find_lungs(phantom.volume)
    for axis in (0, 1, 2):
        volume = phantom.volume
        turned = find_lungs(
            Volume(np.flip(volume.array, axis), volume.geometry.flip(axis))
        )
        back = np.flip(turned.mask, axis)
        size = np.minimum(back.shape, straight.mask.shape)
        a, b = (
            m[: size[0], : size[1], : size[2]] for m in (back, straight.mask)
        )
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.95


def test_lungs_hold_those_drawn(phantom: object) -> None:
    record, arrays = prepare_case(phantom.volume, annotations=[], excluded=[])
    from lungdet.prepare.case import resample_nearest

    drawn = resample_nearest(
        np.isin(phantom.lungs, (3, 4)).astype(np.uint8),
        phantom.volume.geometry,
        record.geometry,
    )
    found = arrays['lungs']
    assert (found & drawn).sum() / drawn.sum() > 0.95
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.9


def test_scan_without_lungs_is_kept_whole() -> None:
    array = np.full((40, 60, 70), -1000, dtype=np.int16)
    array[:, 10:50, 10:60] = 40
    geometry = Geometry.from_parts(
        array.shape, spacing_zyx=(5, 5, 5), origin_xyz=(0, 0, 0)
    )

    record, arrays = prepare_case(
        Volume(array, geometry, 'x'),
        annotations=[],
        excluded=[],
        spacing_mm=5.0,
    )

    assert record.lung_mask == 'failed'
    assert any('lungs not found' in text for text in record.warnings)
    assert arrays['image'].shape == array.shape


@pytest.fixture
def download(tmp_path: Path) -> Path:
    root = tmp_path / 'luna'
    write_luna16_phantoms(root, scans=2, seed=5, size='small', progress=False)
    return root


@pytest.mark.slow
def test_download_to_cases_restarts_and_reports(
    download: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'cases'
    bad = download / 'subset7' / '1.2.3.mhd'
    bad.parent.mkdir()
    bad.write_text('NDims = 4\nElementDataFile = x.raw\n')

    first = prepare_luna16(
        download, out, lidc_xml=download / 'xml', progress=False
    )

    assert list(first.failed) == ['1.2.3']
    assert 'NDims' in first.failed['1.2.3']
    assert len(first.records) == 2
    for record in first.records:
        assert record.lung_mask == 'given'
        assert all(n.has_mask for n in record.nodules)
    again = prepare_luna16(
        download, out, lidc_xml=download / 'xml', progress=False
    )
    assert again.skipped == 2
    assert 'failed: 1.2.3' in again.table()
    store = CaseStore(out)
    for uid in store.records:
        store.verify(uid)
    other = prepare_luna16(download, out, spacing_mm=1.5, progress=False)
    assert other.skipped == 0


def test_folder_refuses_annotations_of_absent_scans(tmp_path: Path) -> None:
    geometry = Geometry.from_parts(
        (4, 5, 6), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    write_image(
        tmp_path / 'scans' / 'a.mha',
        np.full((4, 5, 6), -900, np.int16),
        geometry,
    )
    table = tmp_path / 'boxes.csv'
    table.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\nb,1,1,1,4\n')

    with pytest.raises(AnnotationError, match="such as 'b'"):
        prepare_folder(
            tmp_path / 'scans',
            tmp_path / 'out',
            annotations=table,
            progress=False,
        )
    with pytest.raises(SeriesError, match='no scan found'):
        prepare_folder(tmp_path / 'out', tmp_path / 'o', progress=False)


def test_own_scan_with_a_mask_becomes_a_case(
    phantom: object, tmp_path: Path
) -> None:
    write_image(
        tmp_path / 'scans' / 'mine.nii.gz',
        phantom.volume.array,
        phantom.volume.geometry,
    )
    write_image(
        tmp_path / 'masks' / 'mine.nii.gz',
        phantom.masks,
        phantom.volume.geometry,
    )

    summary = prepare_folder(
        tmp_path / 'scans',
        tmp_path / 'out',
        annotations=tmp_path / 'masks',
        progress=False,
    )

    (record,) = summary.records
    assert not summary.failed
    assert len(record.nodules) == len(phantom.annotations)
    found = sorted(n.diameter_mm for n in record.nodules)
    wanted = sorted(a.diameter_mm for a in phantom.annotations)
    np.testing.assert_allclose(found, wanted, rtol=0.15, atol=0.5)


@pytest.fixture(scope='module')
def mini_cases(
    test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> CaseStore:
    out = tmp_path_factory.mktemp('mini')
    mini = test_data / 'luna16-mini'
    summary = prepare_luna16(mini, out, lidc_xml=mini / 'xml', progress=False)
    assert not summary.failed and summary.official == 3
    return CaseStore(out)


@pytest.mark.slow
def test_real_nodules_lie_well_inside_and_in_their_masks(
    mini_cases: CaseStore,
) -> None:
    records = mini_cases.records.values()
    assert sorted(len(r.nodules) for r in records) == [1, 3, 5]
    for record in records:
        assert not any('widened' in text for text in record.warnings)
        mask = mini_cases.read(record.series_uid, 'mask')
        for nodule in record.nodules:
            box = np.array(nodule.box)
            assert (box[:3] >= 8).all()
            assert (box[3:] <= np.array(record.geometry.shape) - 8).all()
            at = record.geometry.to_index(np.array([nodule.center_mm]))[0]
            assert mask[tuple(np.rint(at).astype(int))] == nodule.id


@pytest.mark.slow
def test_lungs_of_real_scans_without_a_given_mask(test_data: Path) -> None:
    mini = test_data / 'luna16-mini'
    for path in sorted(mini.glob('subset?/*.mhd')):
        volume = load_volume(path)
        record, arrays = prepare_case(volume, annotations=[], excluded=[])
        assert record.lung_mask == 'computed'
        from lungdet.prepare.case import resample_nearest

        given, grid = read_image(mini / 'seg-lungs-LUNA16' / path.name)
        given = resample_nearest(
            np.isin(given, (3, 4)).astype(np.uint8), grid, record.geometry
        )
        found = arrays['lungs']
        dice = 2 * (given & found).sum() / (given.sum() + found.sum())
        assert dice > 0.95


@pytest.mark.slow
def test_dicom_and_its_conversion_give_the_same_case(
    test_data: Path, tmp_path: Path
) -> None:
    (folder,) = (test_data / 'luna16-mini' / 'subset1-dicom').iterdir()
    series = load_volume(folder)
    write_image(tmp_path / f'{folder.name}.mhd', series.array, series.geometry)
    converted = load_volume(tmp_path / f'{folder.name}.mhd')

    cases = [
        prepare_case(v, annotations=[], excluded=[])
        for v in (series, converted)
    ]

    np.testing.assert_array_equal(cases[0][1]['image'], cases[1][1]['image'])
    np.testing.assert_array_equal(cases[0][1]['lungs'], cases[1][1]['lungs'])
    assert cases[0][0].geometry.is_close(cases[1][0].geometry, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('change', ['drop', 'move', 'add'])
def test_changed_official_rows_stop_the_run(
    test_data: Path, tmp_path: Path, change: str
) -> None:
    mini = test_data / 'luna16-mini'
    root = tmp_path / 'luna'
    (root / 'subset1').mkdir(parents=True)
    uid = next(mini.glob('subset1/*.mhd')).stem
    (root / 'subset1' / f'{uid}.mhd').write_text('')
    lines = (mini / 'annotations.csv').read_text().splitlines()
    rows = [k for k, line in enumerate(lines) if line.startswith(uid)]
    if change == 'drop':
        del lines[rows[0]]
    elif change == 'add':
        lines.append(f'{uid},1,2,3,4')
    else:
        lines[rows[0]] = lines[rows[0]].replace(',', ',1', 1)
    (root / 'annotations.csv').write_text('\n'.join(lines) + '\n')

    with pytest.raises(AnnotationError, match='the official table 5'):
        prepare_luna16(root, tmp_path / 'out', progress=False)


def test_case_files_are_plain_json(phantom: object, tmp_path: Path) -> None:
    write_image(
        tmp_path / 'scans' / 'a.mha',
        phantom.volume.array,
        phantom.volume.geometry,
    )

    prepare_folder(tmp_path / 'scans', tmp_path / 'out', progress=False)

    case = json.loads((tmp_path / 'out' / 'cases' / 'a.json').read_text())
    assert case['series_uid'] == 'a'
    assert case['nodules'] == []
