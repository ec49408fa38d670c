from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lungdet.io.processes import processes
from lungdet.prepare.task import ScanTask
from tests.kills import running
from tests.prepare.scans import write_scan

INTERRUPTED = """
import sys
import lungdet.prepare.run as prepare, lungdet.phantom.write as phantom
from lungdet.cli import main
from tests.io.test_processes import never_end, never_end_phantom

prepare.attempt = never_end
phantom.write_phantom = never_end_phantom
sys.exit(main(sys.argv[1:]))
"""


def never_end(task: ScanTask, out: Path, spacing_mm: float) -> None:
    out.joinpath(f'{task.uid}.started').touch()
    time.sleep(300)


def never_end_phantom(number: int, out: Path, seed: int, size: str) -> None:
    out.joinpath(f'{number}.started').touch()
    time.sleep(300)


@pytest.mark.parametrize('command', ['prepare', 'phantom'])
def test_interrupt_ends_all_processes_at_once(
    tmp_path: Path, command: str
) -> None:
    """As Ctrl-C does, which reaches the processes too; one scan is queued."""
    out, scans = tmp_path / 'out', tmp_path / 'scans'
    out.mkdir()
    for seed, name in enumerate('abc'):
        write_scan(scans / f'{name}.mhd', seed)
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


def test_each_process_computes_with_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """BLAS reads the variable when numpy loads it."""
    monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
    monkeypatch.delenv('BLOSC_NTHREADS', raising=False)
    with processes(1) as pool:
        answers = pool.map(
            os.getenv, ('OPENBLAS_NUM_THREADS', 'BLOSC_NTHREADS')
        )

        assert list(answers) == ['1', '1']
    assert 'OPENBLAS_NUM_THREADS' not in os.environ


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='asks /proc')
@pytest.mark.parametrize(
    ('sent', 'code'),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)],
)
def test_processes_end_with_a_caller_that_is_killed(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """Those that work and those that wait."""
    out, scans = tmp_path / 'out', tmp_path / 'scans'
    out.mkdir()
    for seed, name in enumerate('ab'):
        write_scan(scans / f'{name}.mhd', seed)
    words = ['prepare', 'folder', str(scans), str(out), '--jobs', '3']
    program = subprocess.Popen(
        [sys.executable, '-c', INTERRUPTED, *words],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(list(out.glob('*.started'))) < 2:
            assert program.poll() is None
            time.sleep(0.05)
        program.send_signal(sent)
        assert program.wait(timeout=10) == code
        end = time.monotonic() + 10
        while running(program.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not running(program.pid)
    finally:
        if running(program.pid):
            os.killpg(program.pid, signal.SIGKILL)
