from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError, SeriesError
from lungdet.geometry import Geometry, resample_nearest
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume, read_image, write_image
from lungdet.io.luna16 import read_annotations
from lungdet.phantom import make_phantom, write_luna16_phantoms
from lungdet.prepare import prepare_folder, prepare_luna16
from lungdet.prepare.case import prepare_case


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


def test_lungs_hold_those_drawn(phantom: object) -> None:
    record, arrays = prepare_case(phantom.volume, annotations=[], excluded=[])
    drawn = resample_nearest(
        np.isin(phantom.lungs, (3, 4)).astype(np.uint8),
        phantom.volume.geometry,
        record.geometry,
        fill=None,
    )
    found = arrays['lungs']
    assert (found & drawn).sum() / drawn.sum() > 0.95
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.9


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
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SeriesError, match='no scan found'):
        prepare_folder(tmp_path / 'empty', tmp_path / 'o', progress=False)


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
        assert not any('widened' in text for text in record.caveats)
        mask = mini_cases.read(record.series_uid, 'mask')
        for nodule in record.nodules:
            box = np.array(nodule.box)
            assert (box[:3] >= 8).all()
            assert (box[3:] <= np.array(record.geometry.shape) - 8).all()
            at = record.geometry.to_index(np.array([nodule.center_mm]))[0]
            assert mask[tuple(np.rint(at).astype(int))] == nodule.id


@pytest.mark.slow
def test_real_scans_without_a_given_mask(test_data: Path) -> None:
    """Computed lungs agree with the given ones and keep every nodule."""
    mini = test_data / 'luna16-mini'
    table = read_annotations(mini / 'annotations.csv')
    checked = 0
    (dicom,) = (mini / 'subset1-dicom').iterdir()
    for path in [*sorted(mini.glob('subset?/*.mhd')), dicom]:
        volume = load_volume(path)
        bare, arrays = prepare_case(volume, annotations=[], excluded=[])
        assert bare.lung_mask == 'computed'
        name = f'{volume.series_uid}.mhd'
        image = read_image(mini / 'seg-lungs-LUNA16' / name)
        given = resample_nearest(
            np.isin(image.array, (3, 4)).astype(np.uint8),
            image.geometry,
            bare.geometry,
        )
        found = arrays['lungs']
        dice = 2 * (given & found).sum() / (given.sum() + found.sum())
        assert dice > 0.95
        # the region was chosen without knowing where the nodules are
        for nodule in table[volume.series_uid]:
            (box,) = bare.geometry.sphere_box(
                np.array([nodule.center_mm]), nodule.diameter_mm
            )
            margin = [*box[:3], *(bare.geometry.shape - box[3:])]
            assert min(margin) >= 8
            checked += 1
    assert checked == 9


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
