from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lungdet.prepare.run as run_module
from lungdet.errors import AnnotationError, GeometryError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseRecord, CaseStore
from lungdet.io.image import write_image
from lungdet.io.reference_set import official_subsets
from lungdet.prepare import prepare_folder, prepare_luna16
from lungdet.prepare.find import find_scans
from lungdet.prepare.official import official_counts
from lungdet.structures import Annotation

SCANS = ('a', 'b', 'c')


def write_scan(path: Path, seed: int = 0) -> Geometry:
    """Noise of soft tissue and air; no lungs, so all of it is kept."""
    rng = np.random.default_rng(seed)
    shape = (10, 14 + seed, 18)
    array = rng.integers(-900, 100, shape).astype(np.int16)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(2.0, 1.5, 1.2), origin_xyz=(1, 2, 3)
    )
    write_image(path, array, geometry)
    return geometry


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for seed, name in enumerate(SCANS):
        write_scan(tmp_path / 'scans' / f'{name}.mhd', seed)
    return tmp_path / 'scans'


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob('*'))
        if path.is_file()
    }


def table_of(folder: Path, text: str) -> Path:
    path = folder / 'nodules.csv'
    path.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\n' + text)
    return path


@pytest.mark.parametrize('where', ['scan', 'table', 'margin', 'array'])
def test_only_what_changed_is_prepared_again(
    scans: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    table = table_of(tmp_path, 'a,10,10,10,5\nb,10,10,12,5\n')
    first = prepare_folder(scans, out, annotations=table, progress=False)
    assert first.skipped == 0 and not first.failed
    again = prepare_folder(scans, out, annotations=table, progress=False)
    assert again.skipped == 3
    if where == 'scan':
        write_scan(scans / 'b.mhd', 5)
    elif where == 'table':
        table_of(tmp_path, 'a,10,10,10,5\nb,10,10,12,5.5\n')
    elif where == 'margin':
        monkeypatch.setattr(run_module, 'LUNG_MARGIN_MM', 20.0)
    else:
        (out / 'cases' / 'b.lungs.b2nd').unlink()

    last = prepare_folder(scans, out, annotations=table, progress=False)

    assert last.skipped == (0 if where == 'margin' else 2)
    store = CaseStore(out)
    for uid in SCANS:
        store.verify(uid)
    if where == 'scan':
        assert store.records['b'].source_geometry.shape == (10, 19, 18)


def test_excluded_findings_are_part_of_the_settings() -> None:
    def settings(x: float) -> dict:
        finding = Annotation((x, 2.0, 3.0), None)
        scan = run_module.Scan('a', Path(__file__), excluded=(finding,))
        return run_module._settings(scan, 1.0)

    assert settings(1.0) == settings(1.0)
    assert settings(1.0) != settings(1.5)


def test_processes_give_the_bytes_of_one(scans: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        prepare_folder(
            scans, tmp_path / f'out{jobs}', jobs=jobs, progress=False
        )

    assert contents(tmp_path / 'out1') == contents(tmp_path / 'out2')
    assert len(contents(tmp_path / 'out1')) == 10


KILLED = """
import os, signal, sys
import lungdet.prepare.run as run

whole = run.write_case

def die(out, record, arrays):
    if record.series_uid == 'b':
        half = out / 'cases' / 'b.image.b2nd'
        half.write_bytes(b'half of it')
        os.kill(os.getpid(), signal.SIGKILL)
    whole(out, record, arrays)

run.write_case = die
run.prepare_folder(sys.argv[1], sys.argv[2], progress=False)
"""


def test_killed_run_continues_to_the_same_bytes(
    scans: Path, tmp_path: Path
) -> None:
    out, straight = tmp_path / 'out', tmp_path / 'straight'
    prepare_folder(scans, straight, progress=False)
    killed = subprocess.run(
        [sys.executable, '-c', KILLED, str(scans), str(out)], timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(p.name for p in out.glob('cases/*.json')) == ['a.json']

    summary = prepare_folder(scans, out, progress=False)

    assert summary.skipped == 1 and not summary.failed
    assert contents(out) == contents(straight)


def test_unexpected_error_of_one_scan_spares_the_others(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    real = run_module.load_volume

    def load(path: Path, **options: object) -> object:
        if path.name == 'b.mhd':
            raise RuntimeError('ITK said so')
        return real(path, **options)

    monkeypatch.setattr(run_module, 'load_volume', load)
    summary = prepare_folder(scans, out, spacing_mm=1.5, progress=False)

    assert list(summary.failed) == ['b']
    assert 'b.mhd: RuntimeError: ITK said so' in summary.failed['b']
    # no case of 1 mm stays beside those of 1.5
    assert [r.series_uid for r in summary.records] == ['a', 'c']
    assert {r.spacing_mm for r in summary.records} == {1.5}
    assert 'failed: b: ' in summary.table()


def test_one_folder_holds_one_spacing(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    (scans / 'a.mhd').rename(scans / 'd.mhd')

    with pytest.raises(GeometryError, match='one folder holds one spacing'):
        prepare_folder(scans, out, spacing_mm=2.0, progress=False)


def test_killed_process_is_reported(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, 'prepare_one', die_in_a_process)

    summary = prepare_folder(scans, tmp_path / 'out', jobs=2, progress=False)

    assert set(summary.failed) == set(SCANS)
    assert 'a process was killed' in summary.failed['a']


def die_in_a_process(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_world_boxes_and_masks_beside_the_scans(
    scans: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text('seriesuid,x1,y1,z1,x2,y2,z2\nb,4,6,8,10,13,16\n')
    boxes = prepare_folder(
        scans, tmp_path / 'boxes', annotations=table, progress=False
    )
    labels = np.zeros((10, 15, 18), dtype=np.uint8)
    labels[3:6, 4:9, 5:12] = 9
    geometry = CaseStore(tmp_path / 'boxes').records['b'].source_geometry
    write_image(scans / 'truth' / 'b.nii.gz', labels, geometry)

    masks = prepare_folder(
        scans,
        tmp_path / 'out',
        annotations=scans / 'truth',  # not taken for scans
        progress=False,
    )

    for summary in (boxes, masks):
        assert [len(r.nodules) for r in summary.records] == [0, 1, 0]
    nodule = boxes.records[1].nodules[0]
    np.testing.assert_allclose(
        boxes.records[1].geometry.to_world(
            np.array(nodule.box).reshape(2, 3) - 0.5
        ),
        [[4, 6, 8], [10, 13, 16]],
        atol=1e-9,
    )
    assert masks.records[1].nodules[0].has_mask
    with pytest.raises(FileNotFoundError, match='not there'):
        prepare_folder(scans, tmp_path / 'o', annotations=tmp_path / 'none')


def test_slices_without_suffix_are_a_series(tmp_path: Path) -> None:
    (tmp_path / 'subset4' / 'one').mkdir(parents=True)
    (tmp_path / 'subset4' / 'one' / 'IM0001').write_bytes(bytes(128) + b'DICM')
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes' / 'readme').write_text('no image')

    assert find_scans(tmp_path) == [
        ('one', (tmp_path / 'subset4' / 'one').resolve(), 4)
    ]


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
        '1 of 888 found',
        '1 of 601 found',
        '1 of 1,186 found',
        '1 of 89 found',
        f'{len(record.excluded)} of 35,192 found',
    ):
        assert line in table


def test_folder_of_a_uid_that_is_not_inside_fails(
    test_data: Path, tmp_path: Path
) -> None:
    (folder,) = (test_data / 'luna16-mini' / 'subset1-dicom').iterdir()
    copy = tmp_path / 'scans' / '1.2.3.4.5.6.7.8'
    copy.mkdir(parents=True)
    for path in sorted(folder.glob('*.dcm'))[:6]:
        shutil.copy(path, copy)

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )

    assert 'no series 1.2.3.4.5.6.7.8' in summary.failed[copy.name]


def test_lung_mask_of_other_axes_is_refused(tmp_path: Path) -> None:
    geometry = write_scan(tmp_path / 'subset0' / 'a.mhd')
    (tmp_path / 'annotations.csv').write_text(
        'seriesuid,coordX,coordY,coordZ,diameter_mm\n'
    )
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


def test_official_numbers_are_those_of_the_challenge() -> None:
    counts = official_counts([], official_subsets())

    assert {k: n for k, (_, n) in counts.items()} == {
        'scans': 888,
        'with nodules': 601,
        'nodules': 1186,
        'excluded findings': 35192,
    }
    sizes = np.bincount(list(official_subsets().values()))
    assert sorted(sizes.tolist()) == [88, 88] + [89] * 8


def test_counts_leave_out_scans_that_are_not_official(
    scans: Path, tmp_path: Path
) -> None:
    summary = prepare_folder(scans, tmp_path / 'out', progress=False)
    first, second = sorted(official_subsets())[:2]
    records = list(summary.records)
    values = records[0].to_dict()
    for uid in (first, second):
        values['series_uid'] = uid
        records.append(CaseRecord.from_dict(json.loads(json.dumps(values))))

    counts = official_counts(records, {first})

    assert counts['scans'] == (1, 888)
    subset = official_subsets()[first]
    assert counts[f'subset {subset}'][0] == 1


def test_changed_excluded_row_is_named(
    test_data: Path, tmp_path: Path
) -> None:
    mini = test_data / 'luna16-mini'
    shutil.copy(mini / 'annotations.csv', tmp_path)
    uid = next(mini.glob('subset9/*.mhd')).stem
    lines = (mini / 'annotations_excluded.csv').read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith(uid))
    cells = lines[row].split(',')
    cells[3] = '12.5'
    lines[row] = ','.join(cells)
    (tmp_path / 'annotations_excluded.csv').write_text('\n'.join(lines) + '\n')
    (tmp_path / f'{uid}.mhd').write_text('')
    start = time.process_time()

    with pytest.raises(AnnotationError, match='it lacks the row') as caught:
        prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert 'annotations_excluded.csv' in str(caught.value)
    assert uid in str(caught.value)
    assert time.process_time() - start < 5.0
