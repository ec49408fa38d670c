from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path

import pytest

from lungdet.errors import GeometryError, SeriesError
from lungdet.io.case_store import CaseStore
from lungdet.prepare import prepare_folder, prepare_luna16, run, scan, task
from lungdet.prepare.discover import ScanSource
from lungdet.prepare.run import attempt, prepare_scans
from lungdet.prepare.task import ScanTask
from tests.prepare.scans import SCANS, contents, table_of, write_scan

KILLED = """
import os, signal, sys
from lungdet.prepare import prepare_folder, scan

whole = scan.write_case

def die(out, record, arrays):
    if record.series_uid == 'b':
        half = out / 'cases' / 'b.image.b2nd'
        half.write_bytes(b'half of it')
        os.kill(os.getpid(), signal.SIGKILL)
    whole(out, record, arrays)

scan.write_case = die
prepare_folder(sys.argv[1], sys.argv[2], progress=False)
"""


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
        monkeypatch.setattr(task, 'CROP_MARGIN_MM', 20.0)
    else:
        (out / 'cases' / 'b.lungs.b2nd').unlink()

    last = prepare_folder(scans, out, annotations=table, progress=False)

    assert last.skipped == (0 if where == 'margin' else 2)
    store = CaseStore(out)
    for uid in SCANS:
        store.verify(uid)
    if where == 'scan':
        assert store.records['b'].source_geometry.shape == (10, 25, 18)


def test_processes_give_the_bytes_of_one(scans: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        prepare_folder(
            scans, tmp_path / f'out{jobs}', jobs=jobs, progress=False
        )

    assert contents(tmp_path / 'out1') == contents(tmp_path / 'out2')
    assert len(contents(tmp_path / 'out1')) == 10


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

    with pytest.raises(
        SeriesError, match=r'z\.json: not JSON .* delete the file'
    ):
        prepare_folder(scans, tmp_path / 'out', progress=False)

    assert not list((tmp_path / 'out' / 'cases').glob('a.*'))  # at once


def test_unexpected_error_of_one_scan_spares_the_others(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    real = scan.load_volume

    def load(path: Path, **options: object) -> object:
        if path.name == 'b.mhd':
            raise RuntimeError('ITK said so')
        return real(path, **options)

    monkeypatch.setattr(scan, 'load_volume', load)
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


@pytest.mark.parametrize('spacing_mm', [0.0, 0.01, 50.0, float('nan')])
def test_spacing_that_no_scan_has_is_refused(
    scans: Path, tmp_path: Path, spacing_mm: float
) -> None:
    with pytest.raises(GeometryError, match='give a number of mm from 0.05'):
        prepare_folder(
            scans, tmp_path / 'o', spacing_mm=spacing_mm, progress=False
        )


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
    (scans / 'seriesuids.csv').write_text('b\n')
    prepare = {'folder': prepare_folder, 'luna16': prepare_luna16}[layout]

    summary = prepare(scans, out, progress=False)

    line = f'caveat: 2 cases in {out} are not of these scans, such as a'
    assert line in summary.table().splitlines()


def test_killed_process_is_reported(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, 'attempt', die_in_a_process)

    summary = prepare_folder(scans, tmp_path / 'out', jobs=2, progress=False)

    assert set(summary.failed) == set(SCANS)
    assert 'its process was killed' in summary.failed['a']


def die_in_a_process(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('jobs', [1, 2])
def test_killed_process_fails_its_scan_alone(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    for name in 'defg':  # more than are tried one by one
        write_scan(scans / f'{name}.mhd')
    monkeypatch.setattr(run, 'attempt', die_of_b)

    summary = prepare_folder(
        scans, tmp_path / 'out', jobs=jobs, progress=False
    )

    assert set(summary.failed) == {'b'}
    assert {r.series_uid for r in summary.records} == set('acdefg')


def test_a_pool_that_breaks_while_scans_are_submitted(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in 'defg':
        write_scan(scans / f'{name}.mhd')
    submit = ProcessPoolExecutor.submit

    def wait_for_b(
        pool: ProcessPoolExecutor, work: object, task: ScanTask, *args: object
    ) -> Future:
        future = submit(pool, work, task, *args)
        if task.uid == 'b':
            wait([future])
        return future

    monkeypatch.setattr(run, 'attempt', die_of_b)
    monkeypatch.setattr(ProcessPoolExecutor, 'submit', wait_for_b)

    summary = prepare_folder(scans, tmp_path / 'out', jobs=2, progress=False)

    assert set(summary.failed) == {'b'}
    assert {r.series_uid for r in summary.records} == set('acdefg')


def die_of_b(one: ScanTask, *args: object) -> str | None:
    if one.uid == 'b':
        die_in_a_process()
    return attempt(one, *args)


def test_queue_is_dropped_when_the_caller_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt of the caller alone, after the first scan."""

    class Stopped:
        def __init__(self, **_: object) -> None: ...

        def update(self) -> None:
            raise KeyboardInterrupt

        def close(self) -> None: ...

    tasks = [
        ScanTask(ScanSource(str(k), tmp_path / 'none')) for k in range(12)
    ]
    monkeypatch.setattr(run, 'tqdm', Stopped)
    monkeypatch.setattr(run, 'attempt', leave_a_trace)

    with pytest.raises(KeyboardInterrupt):
        prepare_scans(tasks, tmp_path, jobs=2)

    # two run, three are in the pipe to the processes already
    assert 1 <= len(list(tmp_path.glob('*.started'))) <= 7


def leave_a_trace(one: ScanTask, out: Path, spacing_mm: float) -> None:
    out.joinpath(f'{one.uid}.started').touch()
    time.sleep(0.1)


def test_uid_that_leads_elsewhere_deletes_nothing(tmp_path: Path) -> None:
    """As a hostile DICOM header may state it."""
    other = tmp_path / 'other.json'
    other.write_text('{}')
    (tmp_path / 'out' / 'cases').mkdir(parents=True)
    source = ScanSource('../../other', tmp_path / 'slices', is_series=True)

    reason = attempt(ScanTask(source), tmp_path / 'out', 1.0)

    assert 'Rename the scan' in reason
    assert other.is_file()


def test_folder_that_cannot_be_written_is_named_first(scans: Path) -> None:
    (scans / 'out').write_text('a file')

    with pytest.raises(OSError, match='out: cannot be written to'):
        prepare_folder(scans, scans / 'out', progress=False)


def test_a_case_that_was_edited_is_prepared_again(
    scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    table = table_of(tmp_path, 'a,10,10,10,5\n')
    prepare_folder(scans, out, annotations=table, progress=False)
    before = contents(out)
    path = out / 'cases' / 'a.json'
    path.write_text(path.read_text().replace('5.0', '6.0'))

    summary = prepare_folder(scans, out, annotations=table, progress=False)

    assert summary.skipped == 2 and summary.prepared == 1
    assert contents(out) == before


def test_a_damaged_case_of_a_damaged_scan_stops_no_other(
    scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    (out / 'cases' / 'b.json').write_text('{')
    (scans / 'b.mhd').write_text('cut')

    summary = prepare_folder(scans, out, progress=False)

    assert list(summary.failed) == ['b'] and summary.skipped == 2
    assert list(CaseStore(out).records) == ['a', 'c']
