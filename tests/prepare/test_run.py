from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest

import lungdet.prepare.run as run_module
from lungdet.errors import AnnotationError, GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.image import read_image, write_image
from lungdet.io.reference_set import official_subsets
from lungdet.prepare import prepare_folder, prepare_luna16
from lungdet.prepare.find import FoundScan, find_scans
from lungdet.prepare.official import official_counts
from lungdet.prepare.run import Scan, prepare_one
from lungdet.structures import Annotation, CaseRecord
from tests.dicom_series import write_slice

SCANS = ('a', 'b', 'c')


def write_scan(path: Path, seed: int = 0) -> Geometry:
    """Noise of soft tissue and air; no lungs, so all of it is kept."""
    rng = np.random.default_rng(seed)
    shape = (10, 20 + seed, 18)
    array = rng.integers(-900, 100, shape).astype(np.int16)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(6.0, 4.0, 3.2), origin_xyz=(1, 2, 3)
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
        assert store.records['b'].source_geometry.shape == (10, 25, 18)


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
from lungdet.prepare import prepare_folder

whole = run.write_case

def die(out, record, arrays):
    if record.series_uid == 'b':
        half = out / 'cases' / 'b.image.b2nd'
        half.write_bytes(b'half of it')
        os.kill(os.getpid(), signal.SIGKILL)
    whole(out, record, arrays)

run.write_case = die
prepare_folder(sys.argv[1], sys.argv[2], progress=False)
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


def test_killed_rerun_leaves_no_index_of_other_cases(
    scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    for seed, name in enumerate(SCANS[:2], start=5):
        write_scan(scans / f'{name}.mhd', seed)
    killed = subprocess.run(
        [sys.executable, '-c', KILLED, str(scans), str(out)], timeout=120
    )
    assert killed.returncode == -signal.SIGKILL

    with pytest.raises(FileNotFoundError, match='stopped before its end'):
        CaseStore(out)

    prepare_folder(scans, out, progress=False)
    for uid in SCANS:
        CaseStore(out).verify(uid)


def test_damaged_case_of_another_scan_is_named(
    scans: Path, tmp_path: Path
) -> None:
    (tmp_path / 'out' / 'cases').mkdir(parents=True)
    (tmp_path / 'out' / 'cases' / 'z.json').write_text('{"series_uid"')

    with pytest.raises(SeriesError, match=r'z\.json: not JSON .* Delete it'):
        prepare_folder(scans, tmp_path / 'out', progress=False)

    assert not list((tmp_path / 'out' / 'cases').glob('a.*'))  # at once


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


@pytest.mark.parametrize('layout', ['folder', 'luna16'])
def test_cases_of_other_scans_are_counted(
    scans: Path, tmp_path: Path, layout: str
) -> None:
    out = tmp_path / 'out'
    first = prepare_folder(scans, out, progress=False)
    assert 'are not of these scans' not in first.table()
    for name in ('a', 'c'):
        (scans / f'{name}.mhd').unlink()
    table_of(tmp_path, '').rename(scans / 'annotations.csv')
    prepare = {'folder': prepare_folder, 'luna16': prepare_luna16}[layout]

    summary = prepare(scans, out, progress=False)

    note = f'caveat: 2 cases in {out} are not of these scans, such as a'
    assert note in summary.table().splitlines()


def test_killed_process_is_reported(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, 'prepare_one', die_in_a_process)

    summary = prepare_folder(scans, tmp_path / 'out', jobs=2, progress=False)

    assert set(summary.failed) == set(SCANS)
    assert 'its process was killed' in summary.failed['a']


def die_in_a_process(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_process_fails_its_scan_alone(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, 'prepare_one', die_of_b)

    summary = prepare_folder(scans, tmp_path / 'out', jobs=2, progress=False)

    assert set(summary.failed) == {'b'}
    assert {r.series_uid for r in summary.records} == set(SCANS) - {'b'}


def die_of_b(scan: Scan, *args: object) -> str | None:
    if scan.uid == 'b':
        die_in_a_process()
    return prepare_one(scan, *args)


INTERRUPTED = """
import sys
import lungdet.prepare.run as prepare, lungdet.phantom.write as phantom
from lungdet.cli import main
from tests.prepare.test_run import never_end, never_end_phantom

prepare.prepare_one = never_end
phantom.write_phantom = never_end_phantom
sys.exit(main(sys.argv[1:]))
"""


def never_end(scan: Scan, out: Path, spacing_mm: float) -> None:
    out.joinpath(f'{scan.uid}.started').touch()
    time.sleep(300)


def never_end_phantom(number: int, out: Path, seed: int, size: str) -> None:
    out.joinpath(f'{number}.started').touch()
    time.sleep(300)


@pytest.mark.parametrize('command', ['prepare', 'phantom'])
def test_interrupt_ends_all_processes_at_once(
    scans: Path, tmp_path: Path, command: str
) -> None:
    """As Ctrl-C does, which reaches the processes too; one scan is queued."""
    out = tmp_path / 'out'
    out.mkdir()
    words = {
        'prepare': ['prepare', 'folder', str(scans), str(out)],
        'phantom': ['phantom', str(out), '--scans', '3'],
    }[command]
    program = subprocess.Popen(
        [sys.executable, '-c', INTERRUPTED, *words, '--jobs', '2'],
        start_new_session=True,
        # what a shell runs in the background is deaf to it
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(list(out.glob('*.started'))) < 2:
            assert program.poll() is None
            time.sleep(0.05)
        os.killpg(program.pid, signal.SIGINT)

        assert program.wait(timeout=30) == 130
        assert len(list(out.glob('*.started'))) == 2
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def test_queue_is_dropped_when_the_caller_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt of the caller alone, after the first scan."""

    class Stopped:
        def __init__(self, **_: object) -> None: ...

        def update(self) -> None:
            raise KeyboardInterrupt

    scans = [Scan(str(k), tmp_path / 'none') for k in range(12)]
    monkeypatch.setattr(run_module, 'tqdm', Stopped)
    monkeypatch.setattr(run_module, 'prepare_one', leave_a_trace)

    with pytest.raises(KeyboardInterrupt):
        run_module.prepare_scans(scans, tmp_path, jobs=2)

    # two run, three are in the pipe to the processes already
    assert 1 <= len(list(tmp_path.glob('*.started'))) <= 7


def leave_a_trace(scan: Scan, out: Path, spacing_mm: float) -> None:
    out.joinpath(f'{scan.uid}.started').touch()
    time.sleep(0.1)


def test_world_boxes_and_masks_beside_the_scans(
    scans: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text('seriesuid,x1,y1,z1,x2,y2,z2\nb,4,6,8,10,13,16\n')
    boxes = prepare_folder(
        scans, tmp_path / 'boxes', annotations=table, progress=False
    )
    labels = np.zeros((10, 21, 18), dtype=np.uint8)
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


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('masks', r'no mask image \(.mhd, .*\) in it'),
        ('nodules.csv', 'no row in it'),
        ('boxes.csv', 'no row in it'),
    ],
)
def test_annotations_of_no_scan_are_refused(
    scans: Path, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks' / 'a.png').write_bytes(b'no image of voxels')
    (tmp_path / 'boxes.csv').write_text('seriesuid,x1,y1,z1,x2,y2,z2\n')
    table_of(tmp_path, '')

    with pytest.raises(AnnotationError, match=f'{name}: {reason}'):
        prepare_folder(scans, tmp_path / 'out', annotations=tmp_path / name)


def test_scans_that_the_annotations_do_not_name_are_counted(
    scans: Path, tmp_path: Path
) -> None:
    note = 'have no entry in .*nodules.csv and count as without nodules'
    some = table_of(tmp_path, 'b,10,10,10,5\n')
    summary = prepare_folder(
        scans, tmp_path / 'out', annotations=some, progress=False
    )
    assert re.search(
        f'caveat: 2 of 3 scans {note}, such as a', summary.table()
    )

    every = table_of(tmp_path, ''.join(f'{s},9,10,10,5\n' for s in SCANS))
    summary = prepare_folder(
        scans, tmp_path / 'out', annotations=every, progress=False
    )
    assert not re.search(note, summary.table())


def test_slices_without_suffix_are_a_series(tmp_path: Path) -> None:
    (tmp_path / 'subset4' / 'one').mkdir(parents=True)
    (tmp_path / 'subset4' / 'one' / 'IM0001').write_bytes(bytes(128) + b'DICM')
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes' / 'readme').write_text('no image')

    folder = (tmp_path / 'subset4' / 'one').resolve()
    assert find_scans(tmp_path) == [FoundScan('one', folder, 4)]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    root, disk = tmp_path / 'root', tmp_path / 'disk'
    write_scan(disk / 'deep' / 'a.mhd')
    (disk / 'deep' / 'back').symlink_to(disk)  # without end
    (disk / 'seg-lungs-LUNA16').mkdir()
    shutil.copy(disk / 'deep' / 'a.mhd', disk / 'seg-lungs-LUNA16')
    write_scan(root / 'subset2' / 'b.mhd')
    write_folder(disk / 'slices', '1.2.3')
    (root / 'last').symlink_to(root / 'subset2')  # which states the subset
    (root / 'subset1').symlink_to(disk)
    (root / 'gone').symlink_to(tmp_path / 'nothing')
    (root / 'itself').symlink_to(root / 'itself')

    found = find_scans(root, skip=disk / 'none')

    assert [(scan.uid, scan.subset) for scan in found] == [
        ('1.2.3', 1),
        ('a', 1),
        ('b', 2),
    ]
    assert found[1].path == root.resolve() / 'subset1' / 'deep' / 'a.mhd'
    assert not prepare_folder(root, tmp_path / 'out', progress=False).failed


def test_series_in_two_places_is_refused(tmp_path: Path) -> None:
    for patient in ('files/1', 'files/2'):
        write_scan(tmp_path / patient / 'ct.nii.gz')
    for patient in ('slices/1', 'slices/2'):
        write_folder(tmp_path / patient, '1.2.3')

    with pytest.raises(SeriesError, match='ct is also at .* so rename one'):
        find_scans(tmp_path / 'files')
    with pytest.raises(SeriesError, match='1.2.3 is also at .*; keep one'):
        find_scans(tmp_path / 'slices')


@pytest.mark.parametrize('suffix', ['.xml', '.txt', '.CSV', '.json', '.raw'])
def test_slices_behind_other_files_are_a_series(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / 'one').mkdir()
    for k in range(4):
        (tmp_path / 'one' / f'0{k}{suffix}').write_text('no slice')
    (tmp_path / 'one' / 'IM0001').write_bytes(bytes(128) + b'DICM')

    assert [scan.uid for scan in find_scans(tmp_path)] == ['one']


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


def air(count: int = 8) -> np.ndarray:
    planes = np.full((count, 16, 24), -900, np.int16)
    planes[:, 8:] = 40
    return planes


def write_folder(folder: Path, uid: str, z0: float = 0.0) -> None:
    """A series of 8 slices, 10 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, plane in enumerate(air()):
        write_slice(
            folder, k, plane, name=f'{uid}_{k}', series=uid, z=z0 + 10 * k
        )


@pytest.mark.parametrize('name', ['1.2.3', 'knee'])
@pytest.mark.parametrize('inner', ['', 'knee'])
def test_series_goes_by_its_uid_or_its_folder(
    tmp_path: Path, name: str, inner: str
) -> None:
    write_folder(tmp_path / 'knee' / inner, '1.2.3')
    table = table_of(tmp_path, f'{name},0,30,20,5\n')

    summary = prepare_folder(
        tmp_path / 'knee',  # the series' own folder, or the one around it
        tmp_path / 'out',
        annotations=table,
        progress=False,
    )

    (record,) = summary.records
    assert record.series_uid == '1.2.3'
    assert len(record.nodules) == 1


def test_every_series_of_a_folder_is_a_case(tmp_path: Path) -> None:
    for uid, z0 in (('1.1', 0), ('1.2', 500)):
        write_folder(tmp_path / 'scans' / 'both', uid, z0)
    write_slice(
        tmp_path / 'scans' / 'both', 0, air()[0], name='stray', series='9.9'
    )

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )
    chosen = prepare_folder(
        tmp_path / 'scans', tmp_path / 'one', series=['1.2'], progress=False
    )

    assert [r.series_uid for r in summary.records] == ['1.1', '1.2']
    bottoms = [r.source_geometry.origin[2] for r in summary.records]
    assert bottoms == [0, 500]
    assert 'left out: 9.9' in summary.table()
    assert [r.series_uid for r in chosen.records] == ['1.2']
    with pytest.raises(SeriesError, match='no scan found of series 4.4'):
        prepare_folder(
            tmp_path / 'scans', tmp_path / 'o', series=['4.4'], progress=False
        )


def test_series_that_luna16_does_not_have_is_left_out(tmp_path: Path) -> None:
    for uid in ('1.1', '1.2'):
        write_folder(tmp_path / 'subset3' / 'x', uid)
    table_of(tmp_path, '1.2,0,30,20,5\n').rename(tmp_path / 'annotations.csv')

    summary = prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert [(r.series_uid, r.subset) for r in summary.records] == [('1.2', 3)]
    assert 'left out: 1.1' in summary.table()
    assert 'annotations_excluded.csv is not there' in summary.table()


def test_patient_is_known_from_dicom(tmp_path: Path) -> None:
    write_folder(tmp_path / 'scans' / 'a', '1.1')
    for path in (tmp_path / 'scans' / 'a').iterdir():
        header = pydicom.dcmread(path)
        header.PatientID = 'P7'
        header.save_as(path)

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )

    assert [r.patient_id for r in summary.records] == ['P7']


def test_offset_of_the_command_reaches_the_scans(
    scans: Path, tmp_path: Path
) -> None:
    image = read_image(scans / 'b.mhd')
    array = image.array + np.int16(1024)
    array[:, :6] = 24  # air
    write_image(scans / 'b.mhd', array, image.geometry)
    without = prepare_folder(scans, tmp_path / 'out', progress=False)
    assert '--hu-offset -1024' in without.failed['b']

    summary = prepare_folder(
        scans, tmp_path / 'out', hu_offset=-1024, progress=False
    )

    assert not summary.failed and summary.skipped == 0
    store = CaseStore(tmp_path / 'out')
    assert store.read('b', 'image').min() < -800
    assert 'HU already' in ' '.join(store.records['a'].caveats)


@pytest.mark.parametrize('what', ['raw', 'slice', 'swapped'])
def test_changed_voxels_are_prepared_again(tmp_path: Path, what: str) -> None:
    root, out = tmp_path / 'scans', tmp_path / 'out'
    write_folder(root / 'x', '1.1')
    geometry = write_scan(root / 'a.mhd')
    array = read_image(root / 'a.mhd').array
    header = (root / 'a.mhd').read_text().replace('.zraw', '.raw')
    header = header.replace('CompressedData = True', 'CompressedData = False')
    (root / 'a.mhd').write_text(header)
    (root / 'a.raw').write_bytes(array.tobytes())
    (root / 'a.zraw').unlink()
    assert geometry.shape == array.shape
    assert not prepare_folder(root, out, progress=False).failed
    if what == 'raw':  # as long as before, the same head
        array[8:] += 7
        (root / 'a.raw').write_bytes(array.tobytes())
    elif what == 'slice':
        write_slice(
            root / 'x', 3, air()[3] + 7, name='1.1_3', series='1.1', z=30
        )
    else:
        names = [root / 'x' / f'1.1_{k}' for k in (2, 5)]
        contents = [path.read_bytes() for path in names]
        for path, content in zip(names, reversed(contents)):
            path.write_bytes(content)

    again = prepare_folder(root, out, progress=False)
    assert again.skipped == 1 and not again.failed
    assert prepare_folder(root, out, progress=False).skipped == 2


def test_name_that_is_no_file_name_is_refused_unread(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / 'a.mhd').rename(scans / 'my scan.mhd')
    read = []
    real = run_module.load_volume
    monkeypatch.setattr(
        run_module,
        'load_volume',
        lambda path, **kw: read.append(path.name) or real(path, **kw),
    )

    summary = prepare_folder(scans, tmp_path / 'out', progress=False)

    assert 'Rename the scan' in summary.failed['my scan']
    assert read == ['b.mhd', 'c.mhd']


def test_folder_that_cannot_be_written_is_named_first(scans: Path) -> None:
    (scans / 'out').write_text('a file')

    with pytest.raises(OSError, match='out: cannot be written to'):
        prepare_folder(scans, scans / 'out', progress=False)


def test_places_without_scans_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='no annotations.csv there'):
        prepare_luna16(tmp_path, tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match='no such folder'):
        prepare_folder(tmp_path / 'none', tmp_path / 'out')


@pytest.mark.parametrize(
    ('readers', 'consensus', 'voxels'),
    [(4, 'half', None), (3, 'half', 3 * 3), (3, 'union', 5 * 3)],
)
def test_readers_and_consensus_of_the_command(
    tmp_path: Path, readers: int, consensus: str, voxels: int | None
) -> None:
    """One reader's 5 x 3 and two readers' 3 x 3 pixels inside outlines."""
    shape = (8, 20, 20)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(10, 5, 5), origin_xyz=(0, 0, 0)
    )
    array = np.full(shape, 40, np.int16)
    array[:, :2] = -900
    write_image(tmp_path / 'subset0' / '1.1.mhd', array, geometry)
    table_of(tmp_path, '1.1,45,50,30,30\n').rename(
        tmp_path / 'annotations.csv'
    )
    (tmp_path / 'xml').mkdir()
    (tmp_path / 'xml' / 'a.xml').write_text(
        '<LidcReadMessage><ResponseHeader><SeriesInstanceUid>1.1'
        '</SeriesInstanceUid><StudyInstanceUID>7.7</StudyInstanceUID>'
        '</ResponseHeader>'
        + ''.join(
            '<readingSession><unblindedReadNodule><noduleID>1</noduleID>'
            '<roi><imageZposition>30</imageZposition>'
            '<inclusion>TRUE</inclusion>'
            + ''.join(
                f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
                for x, y in ((6, 8), (right, 8), (right, 12), (6, 12))
            )
            + '</roi></unblindedReadNodule></readingSession>'
            for right in (12, 10, 10)
        )
        + '</LidcReadMessage>'
    )
    options = {'min_readers': readers, 'consensus': consensus}

    summary = prepare_luna16(
        tmp_path,
        tmp_path / 'out',
        lidc_xml=tmp_path / 'xml',
        spacing_mm=5.0,
        progress=False,
        **options,
    )

    (record,) = summary.records
    assert record.patient_id == '7.7'  # the study; no header names a patient
    assert record.nodules[0].has_mask == (voxels is not None)
    if voxels is None:
        assert 'no outline of 4 readers' in summary.table()
        return
    assert record.nodules[0].num_readers == 3
    mask = CaseStore(tmp_path / 'out').read('1.1', 'mask')
    # slices of 10 mm are two or three of 5 mm; each shows the whole square
    assert mask.any((1, 2)).sum() * voxels == mask.sum()


def test_impossible_consensus_stops_before_any_scan(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="consensus: 'all'"):
        prepare_luna16(tmp_path, tmp_path / 'out', consensus='all')


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


def test_scans_without_reader_xml_are_told(
    scans: Path, tmp_path: Path
) -> None:
    (tmp_path / 'xml').mkdir()
    table = table_of(scans, 'a,10,10,10,5\n')
    table.rename(scans / 'annotations.csv')

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
    mine = [row.split(',') for row in rows if row.startswith(scan.stem)]
    assert len(mine) > 10
    assert [list(found.center_mm) for found in record.excluded] == [
        [float(v) for v in row[1:4]] for row in mine
    ]
    assert 'the official list was taken' in summary.table()


@pytest.mark.parametrize(
    ('name', 'change', 'reason'),
    [
        ('annotations.csv', 'drop', 'the official table 5; it lacks the row'),
        ('annotations.csv', 'move', 'the official table 5; it lacks the row'),
        ('annotations.csv', 'add', 'the official table 5; it adds the row'),
        ('annotations_excluded.csv', 'move', 'it lacks the row'),
    ],
)
def test_changed_official_row_stops_the_run(
    test_data: Path, tmp_path: Path, name: str, change: str, reason: str
) -> None:
    mini = test_data / 'luna16-mini'
    for table in ('annotations.csv', 'annotations_excluded.csv'):
        shutil.copy(mini / table, tmp_path)
    uid = next(mini.glob('subset1/*.mhd')).stem
    lines = (tmp_path / name).read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith(uid))
    if change == 'drop':
        del lines[row]
    elif change == 'add':
        lines.append(f'{uid},1,2,3,4')
    else:
        cells = lines[row].split(',')
        lines[row] = ','.join([*cells[:3], '12.5', cells[4]])
    (tmp_path / name).write_text('\n'.join(lines) + '\n')
    (tmp_path / f'{uid}.mhd').write_text('')

    with pytest.raises(AnnotationError, match=reason) as caught:
        prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert f'{name}: series {uid}' in str(caught.value)
