from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.image import write_image
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_folder, prepare_luna16
from tests.prepare.scans import table_of, write_folder, write_scan


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
def test_series_in_a_folder_of_another_name_is_found(
    test_data: Path, tmp_path: Path
) -> None:
    mini = test_data / 'luna16-mini'
    (folder,) = (mini / 'subset1-dicom').iterdir()
    copy = tmp_path / 'LIDC-IDRI-0001' / '3000566.000000-03192'
    shutil.copytree(folder, copy)
    for name in ('annotations.csv', 'annotations_excluded.csv'):
        shutil.copy(mini / name, tmp_path)

    summary = prepare_luna16(
        tmp_path, tmp_path / 'out', lidc_xml=mini / 'xml', progress=False
    )

    (record,) = summary.records
    assert record.series_uid == folder.name
    assert record.subset == 1  # of the official list; no folder says so
    assert record.nodules[0].has_mask
    table = summary.table()
    for line in (
        '1 of 888 ',
        '1 of 601 ',
        '1 of 1,186 ',
        '1 of 89 ',
        f'{len(record.excluded)} of 35,192 ',
    ):
        assert line in table


def test_series_that_luna16_does_not_have_is_left_out(tmp_path: Path) -> None:
    for uid in ('1.1', '1.2'):
        write_folder(tmp_path / 'subset3' / 'x', uid)
    table_of(tmp_path, '1.2,0,30,20,5\n').rename(tmp_path / 'annotations.csv')

    summary = prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert [(r.series_uid, r.subset) for r in summary.records] == [('1.2', 3)]
    assert 'left out: 1.1' in summary.table()
    assert 'annotations_excluded.csv is not there' in summary.table()


def test_repeated_and_missing_rows_of_nodules_are_told(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path / 'subset3' / 'x', '1.2')
    row = '1.2,0,30,20,5\n'
    table_of(tmp_path, 2 * row).rename(tmp_path / 'annotations.csv')

    with pytest.raises(
        AnnotationError, match=r'annotations.csv: 1.2 has 1 nodule in several'
    ):
        prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    table_of(tmp_path, '').rename(tmp_path / 'annotations.csv')
    (tmp_path / 'seriesuids.csv').write_text('1.2\n')
    summary = prepare_luna16(tmp_path, tmp_path / 'out', progress=False)
    assert 'annotations.csv has no row, so no scan has' in summary.table()


def test_folders_without_scans_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='no annotations.csv there'):
        prepare_luna16(tmp_path, tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match='no such folder'):
        prepare_folder(tmp_path / 'none', tmp_path / 'out')


def test_impossible_consensus_stops_before_any_scan(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="consensus: 'all'"):
        prepare_luna16(tmp_path, tmp_path / 'out', consensus='all')


def test_lung_mask_of_other_axes_is_refused(tmp_path: Path) -> None:
    geometry = write_scan(tmp_path / 'subset0' / 'a.mhd')
    (tmp_path / 'annotations.csv').write_text(
        'seriesuid,coordX,coordY,coordZ,diameter_mm\n'
    )
    (tmp_path / 'seriesuids.csv').write_text('a\n')
    turned = Geometry.from_parts(
        geometry.shape,
        spacing_zyx=geometry.spacing,
        origin_xyz=geometry.origin,
        direction=[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]],
    )
    write_image(
        tmp_path / 'seg-lungs-LUNA16' / 'a.mhd',
        np.full(geometry.shape, 3, np.uint8),
        turned,
    )

    summary = prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert 'not parallel' in summary.failed['a']


def test_absent_folder_of_xml_is_no_folder_without_outlines(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError, match='no folder of reader XML'):
        prepare_luna16(tmp_path, tmp_path / 'out', lidc_xml=tmp_path / 'xml')


def test_scans_without_reader_xml_are_told(
    scans: Path, tmp_path: Path
) -> None:
    (tmp_path / 'xml').mkdir()
    table = table_of(scans, 'a,10,10,10,5\n')
    table.rename(scans / 'annotations.csv')
    (scans / 'seriesuids.csv').write_text('a\nb\nc\n')

    with pytest.raises(AnnotationError, match='no reader XML'):
        prepare_luna16(scans, tmp_path / 'out', lidc_xml=tmp_path / 'xml')
    (tmp_path / 'xml' / 'x.xml').write_text(
        '<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>'
        '<SeriesInstanceUid>9.9</SeriesInstanceUid></ResponseHeader>'
        '</LidcReadMessage>'
    )
    summary = prepare_luna16(
        scans, tmp_path / 'out', lidc_xml=tmp_path / 'xml', progress=False
    )

    assert 'have no reader XML and so no masks' in summary.table()


def test_official_exclusions_hold_where_their_table_is_absent(
    test_data: Path, tmp_path: Path
) -> None:
    """The official scorer always has it; a download may be a part."""
    mini = test_data / 'luna16-mini'
    (scan,) = (mini / 'subset1').glob('*.mhd')
    (tmp_path / 'subset1').mkdir()
    for file in (mini / 'subset1').glob(f'{scan.stem}*'):
        shutil.copy(file, tmp_path / 'subset1')
    shutil.copy(mini / 'annotations.csv', tmp_path)
    lungs = tmp_path / 'seg-lungs-LUNA16'
    shutil.copytree(mini / 'seg-lungs-LUNA16', lungs)

    summary = prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    (record,) = summary.records
    rows = (mini / 'annotations_excluded.csv').read_text().splitlines()
    of_scan = [row.split(',') for row in rows if row.startswith(scan.stem)]
    assert len(of_scan) > 10
    assert [list(finding.center_mm) for finding in record.excluded] == [
        [float(v) for v in row[1:4]] for row in of_scan
    ]
    assert 'the official list was taken' in summary.table()
