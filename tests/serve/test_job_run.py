"""One job: the same result as ``lungdet infer``, in the job's folder."""

from __future__ import annotations

import errno
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungdet.apis import scan_steps
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.exporters import EXPORTERS
from lungdet.serve.job_run import Done, Failed, Task, run_job
from tests.apis.scans import write_scans
from tests.apis.test_inferencer import Threshold, threshold
from tests.dicom_series import labelled, write_series
from tests.schemas import assert_valid

__all__ = ['threshold']
JOB = 'f' * 32
TEXT = 'DOE^JOHN'


def task(tmp_path: Path, suffix: str) -> Task:
    folder = tmp_path / 'jobs' / JOB
    folder.mkdir(parents=True)
    return Task(
        JOB, folder / f'scan{suffix}', folder / 'start-1', folder / 'result'
    )


def zipped(target: Path, folder: Path, prefix: str = '') -> None:
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob('*') if p.is_file()):
            archive.write(path, f'{prefix}{path.relative_to(folder)}')


def infer(inferencer: NoduleInferencer, scan: Path, out: Path) -> dict:
    """The result of ``lungdet infer``."""
    scans, _ = find_scans([scan], out)
    ScanRun(inferencer, scans, out, InferOptions(('json',))).run()
    (path,) = out.glob('*/result.json')
    return json.loads(path.read_text())


def same(result: dict, other: dict) -> bool:
    keys = ('detections', 'geometry', 'case_geometry', 'dropped', 'model')
    return all(result[key] == other[key] for key in keys)


def test_an_image_gives_what_infer_gives(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', [TEXT])
    one = task(tmp_path, '.mha')
    one.scan.write_bytes((tmp_path / 'in' / f'{TEXT}.mha').read_bytes())

    done = run_job(threshold, one)

    assert isinstance(done, Done) and done.detections == 1
    result = json.loads((one.result / 'result.json').read_text())
    assert_valid('result', result)
    assert result['series_uid'] == JOB
    expected = infer(threshold, tmp_path / 'in', tmp_path / 'out')
    assert same(result, expected) and expected['detections']
    assert {*done.files} == {
        name for name, of in EXPORTERS.items() if not of.needs_dicom
    }
    for names in done.files.values():
        assert all((one.result / name).is_file() for name in names)


def test_names_in_an_archive_go_nowhere(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    """No file name of the archive appears in the result."""
    write_scans(tmp_path / 'in' / TEXT, [TEXT])
    one = task(tmp_path, '.zip')
    zipped(one.scan, tmp_path / 'in')

    done = run_job(threshold, one)

    assert isinstance(done, Done)
    for path in one.result.rglob('*'):
        assert TEXT not in path.name
        assert TEXT.encode() not in path.read_bytes() if path.is_file() else 1


@pytest.fixture
def series(tmp_path: Path) -> Path:
    truth = np.full((26, 16, 24), -850.0)
    truth[10:14, 6:10, 8:14] = 60
    edit = labelled(
        PatientName=TEXT, SeriesDescription=TEXT, StudyInstanceUID='9.9'
    )
    (tmp_path / 'dicom').mkdir()
    write_series(tmp_path / 'dicom', truth, series='1.2.3', edit=edit)
    return tmp_path / 'dicom'


@pytest.mark.slow
def test_zipped_dicom_keeps_its_uid_and_has_dicom_formats(
    threshold: NoduleInferencer, tmp_path: Path, series: Path
) -> None:
    pytest.importorskip('highdicom')
    one = task(tmp_path, '.zip')
    zipped(one.scan, series, prefix=f'{TEXT}/')

    done = run_job(threshold, one)

    assert isinstance(done, Done), done
    result = json.loads((one.result / 'result.json').read_text())
    assert result['series_uid'] == '1.2.3'
    assert same(result, infer(threshold, series, tmp_path / 'out'))
    assert {*done.files} == {*EXPORTERS}
    for name, files in done.files.items():
        if name not in ('dicom_seg', 'dicom_sr'):  # these name the patient
            for file in files:
                assert TEXT.encode() not in (one.result / file).read_bytes()


@pytest.mark.slow
def test_dicom_without_uids_has_the_other_formats(
    threshold: NoduleInferencer,
    tmp_path: Path,
    series: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('highdicom')
    one = task(tmp_path, '.zip')
    zipped(one.scan, series)
    usual = scan_steps.load_volume

    def one_file(path: Path, **given: Any) -> Any:
        return replace(usual(path, **given), slices=())

    monkeypatch.setattr(scan_steps, 'load_volume', one_file)

    done = run_job(threshold, one)

    assert isinstance(done, Done), done
    assert not {'dicom_seg', 'dicom_sr'} & {*done.files}
    result = json.loads((one.result / 'result.json').read_text())
    assert any('dicom_seg' in text for text in result['caveats'])


def test_two_scans_are_one_too_many(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a', 'b'])
    one = task(tmp_path, '.zip')
    zipped(one.scan, tmp_path / 'in')

    assert run_job(threshold, one) == Failed(
        'the scan: contains 2 scans; send each separately.'
    )


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('scan.mha', bytes(50_000_000))


def leaving(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('../../../leaves.mha', b'x')


def empty(path: Path) -> None:
    zipfile.ZipFile(path, 'w').close()


def elsewhere(path: Path) -> None:
    path.write_text(
        'NDims = 3\nDimSize = 8 16 16\nElementType = MET_SHORT\n'
        'ElementSpacing = 1 1 1\nElementDataFile = /etc/passwd\n'
    )


@pytest.mark.parametrize(
    ('write', 'suffix', 'reason'),
    [
        (bomb, '.zip', '200 to one'),
        (leaving, '.zip', 'leaves the folder'),
        (empty, '.zip', 'no scan'),
        (lambda path: path.write_bytes(b'PK'), '.zip', 'not a zip archive'),
        (lambda path: path.write_bytes(b'no image'), '.mha', ''),
        (lambda path: path.write_bytes(b'no image'), '.nii.gz', ''),
        (lambda path: path.write_bytes(b'NRRD0004\n'), '.nrrd', ''),
        (elsewhere, '.mha', 'ElementDataFile'),
    ],
)
def test_what_is_no_scan_fails_in_one_line_without_our_paths(
    threshold: NoduleInferencer,
    tmp_path: Path,
    write: Any,
    suffix: str,
    reason: str,
) -> None:
    one = task(tmp_path, suffix)
    write(one.scan)

    failed = run_job(threshold, one)

    assert isinstance(failed, Failed)
    assert reason in failed.reason and failed.reason
    assert '\n' not in failed.reason and str(tmp_path) not in failed.reason
    assert not one.result.exists()
    assert not list(tmp_path.rglob('leaves*'))


def test_the_network_and_the_disk_may_fail(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    one = task(tmp_path, '.mha')
    one.scan.write_bytes((tmp_path / 'in' / 'a.mha').read_bytes())

    def no_memory(self: Threshold, batch: dict) -> list[Any]:
        raise MemoryError

    def full(folder: Path, *given: Any, **more: Any) -> Any:
        raise OSError(errno.ENOSPC, 'No space left', str(folder / 'x'))

    with monkeypatch.context() as patch:
        patch.setattr(Threshold, 'test_step', no_memory)
        assert run_job(threshold, one) == Failed('MemoryError:')
    monkeypatch.setattr(scan_steps, 'export_result', full)
    failed = run_job(threshold, one)

    assert isinstance(failed, Failed)
    assert 'no space left' in failed.reason
    assert str(tmp_path) not in failed.reason


def test_a_restarted_job_ignores_leftovers_of_earlier_starts(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    one = task(tmp_path, '.mha')
    one.scan.write_bytes((tmp_path / 'in' / 'a.mha').read_bytes())
    (one.work / JOB).mkdir(parents=True)
    (one.work / JOB / 'inference.json').write_text('half')

    assert isinstance(run_job(threshold, one), Done)


@pytest.mark.parametrize('linked', [False, True])
def test_a_result_that_the_killed_server_did_not_note_is_replaced(
    threshold: NoduleInferencer, tmp_path: Path, linked: bool
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    one = task(tmp_path, '.mha')
    one.scan.write_bytes((tmp_path / 'in' / 'a.mha').read_bytes())
    there = tmp_path / 'elsewhere' if linked else one.result
    there.mkdir()
    (there / 'old.json').write_text('old')
    if linked:
        one.result.symlink_to(there)

    done = run_job(threshold, one)

    assert isinstance(done, Done), done
    assert not one.result.is_symlink()
    assert (one.result / 'result.json').is_file()
    assert not (one.result / 'old.json').exists()
    assert not linked or (there / 'old.json').read_text() == 'old'
