"""Runs of `lungdet infer` that end early: exit codes, reports, restarts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.scan_steps import ScanInWork, ScanSteps
from lungdet.cli import main
from tests.apis.scans import write_scans
from tests.cli.infer_words import weights_and_out
from tests.schemas import assert_valid

CREATED = re.compile(rb'\d{4}-\d\d-\d\dT[\d:]+\+00:00')  # in report.html


@pytest.mark.parametrize('overwrite', [False, True])
def test_an_interruption_says_where_the_same_command_starts(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    overwrite: bool,
) -> None:
    words = ['infer', str(scans), *weights_and_out(trained, tmp_path / 'out')]
    words += ['--overwrite'] * overwrite
    usual = ScanSteps.detect

    def detect(self: ScanSteps, work: ScanInWork, *given: Any) -> ScanInWork:
        if work.scan.uid == 'c':
            raise KeyboardInterrupt
        return usual(self, work, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ScanSteps, 'detect', detect)
        assert main(words) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()

    advice = 'to continue.'
    if overwrite:
        advice = (
            'to start with the first scan, since --overwrite makes every '
            'result anew; without --overwrite it keeps those that are there.'
        )
    assert told == (
        f'lungdet: interrupted; run the same command again {advice}'
    )
    before = [line for line in lines if line.endswith('done before')]
    assert len(before) == (0 if overwrite else 2)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_report_of_an_interrupted_run_has_its_exit_code(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def detect(*given: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(ScanSteps, 'detect', detect)
    # a suite that runs in the background ignores Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    try:
        code = main(['infer', str(scans), *words, '--report', str(report)])
    finally:
        signal.signal(signal.SIGINT, before)

    content = json.loads(report.read_text())
    assert code == content['exit_code'] == 130
    assert content['stopped'] == 'interrupted'
    assert_valid('infer_report', content)


def test_the_report_of_a_run_that_an_error_ends_has_its_exit_code(
    trained: Path, scans: Path, tmp_path: Path
) -> None:
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    words += ['--report', str(report)]
    assert main(['infer', str(scans / 'a.mha'), *words]) == 0

    code = main(['infer', str(scans / 'a.mha'), *words, '--keep-all'])

    content = json.loads(report.read_text())
    assert code == content['exit_code'] == 2
    assert content['stopped'] == 'by an error'


@pytest.mark.parametrize(
    ('error', 'code'), [(RuntimeError('a bug'), 1), (BrokenPipeError(), 141)]
)
def test_the_report_of_a_run_that_breaks_has_its_exit_code(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    def break_off(self: ScanRun, todo: list) -> None:
        raise error

    monkeypatch.setattr(ScanRun, 'work_on', break_off)
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    with suppress(RuntimeError, BrokenPipeError, SystemExit):
        main(['infer', str(scans / 'a.mha'), *words, '--report', str(report)])

    content = json.loads(report.read_text())
    assert (content['exit_code'], content['stopped']) == (code, 'by an error')
    assert content['counts']['untried'] == 1
    assert_valid('infer_report', content)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('none', []),
        ('in', ['--model', 'not/there.pth']),
        ('in', ['--series', '1.2']),
    ],
)
def test_a_run_that_ends_before_its_first_scan_has_a_report(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    name: str,
    words: list[str],
) -> None:
    (tmp_path / 'none').mkdir()
    report = tmp_path / 'report.json'
    usual = weights_and_out(trained, tmp_path / 'out')

    code = main(
        ['infer', str(tmp_path / name), *usual, '--report', str(report)]
        + words
    )

    content = json.loads(report.read_text())
    assert_valid('infer_report', content)
    assert code == content['exit_code'] == 2
    assert content['stopped'] == 'by an error'
    assert content['model'] is None and not content['scans']


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('file/x.json', 'give another folder for the report'),
        ('folder', 'name a file in a folder'),
    ],
)
def test_a_report_that_cannot_be_written_stops_it_before_any_scan(
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    name: str,
    reason: str,
) -> None:
    """The weights are not there either, which is found when they load."""
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    words = weights_and_out(tmp_path / 'absent.pth', tmp_path / 'out')

    code = main(
        ['infer', str(scans), *words, '--report', str(tmp_path / name)]
    )

    assert code == 2
    assert reason in capsys.readouterr().err
    assert not list((tmp_path / 'out').iterdir())


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-m', 'lungdet.cli', *words],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a suite that runs in the background ignores Ctrl-C, and so would it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_a_killed_run_continues_and_ends_like_a_whole_one(
    marking: Path, tmp_path: Path
) -> None:
    names = [f's{k:02d}' for k in range(12)]
    write_scans(tmp_path / 'in', names)
    words = ['infer', str(tmp_path / 'in'), '--model', str(marking)]
    words += ['--keep-all', '--precision', 'fp32', '--out']
    out, whole = tmp_path / 'out', tmp_path / 'whole'

    kills = 0
    for count in (1, 4, 8):
        process = start([*words, str(out)])
        while process.poll() is None:
            if len(list(out.glob('*/inference.json'))) >= count:
                process.kill()
            time.sleep(0.02)
        kills += process.wait() == -signal.SIGKILL
        before = {
            path: path.stat().st_mtime_ns
            for path in out.glob('*/inference.json')
        }
    assert kills >= 2
    assert start([*words, str(out)]).wait() == 0
    assert start([*words, str(whole)]).wait() == 0

    folders = [path for path in out.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == names
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written
    for name in names:
        files = {path.name for path in (out / name).iterdir()}
        assert files == {path.name for path in (whole / name).iterdir()}
        for file in files - {'result.json', 'inference.json', 'marks.png'}:
            there, straight = (
                CREATED.sub(b'', (folder / name / file).read_bytes())
                for folder in (out, whole)
            )
            assert there == straight
        a, b = (
            json.loads((folder / name / 'result.json').read_text())
            for folder in (out, whole)
        )
        assert a['detections'] == b['detections'] and a['detections']


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130_and_a_report(
    trained: Path, tmp_path: Path, number: int
) -> None:
    write_scans(tmp_path / 'in', [f's{k:02d}' for k in range(12)])
    out, report = tmp_path / 'out', tmp_path / 'report.json'
    process = start(
        ['infer', str(tmp_path / 'in'), '--model', str(trained)]
        + ['--out', str(out), '--report', str(report)]
    )
    while not list(out.glob('*/inference.json')):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)

    assert process.wait() == 130
    content = json.loads(report.read_text())
    assert content['stopped'] == 'interrupted'
    assert content['exit_code'] == 130
    assert content['counts']['untried'] > 0
    assert not list(out.rglob('.tmp-*'))
