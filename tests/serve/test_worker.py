"""The worker process: its output, and how its end is reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lungdet.apis.detector_options import DetectorOptions
from lungdet.errors import ConfigError
from lungdet.serve import worker as worker_module
from lungdet.serve.job_run import Failed, Task
from lungdet.serve.worker import Worker, WorkerLost


def test_nothing_is_printed_any_more(tmp_path: Path) -> None:
    """Only the stack trace of a crash is printed."""
    code = (
        'import ctypes, os, warnings, lungdet.serve.worker as w\n'
        "print('before')\n"
        'w.be_silent()\n'
        "print('DOE', flush=True); os.write(2, b'DOE')\n"
        "warnings.warn('DOE')\n"
        'def crash(name): ctypes.string_at(0)\n'
        "crash('DOE')\n"
    )

    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == -signal.SIGSEGV
    assert done.stdout == 'before\n'
    assert 'in crash' in done.stderr and 'DOE' not in done.stderr


@pytest.mark.skipif(not worker_module.OOM_SCORE.exists(), reason='Linux only')
def test_it_is_the_first_to_go_where_memory_is_short() -> None:
    code = (
        'import resource, lungdet.serve.worker as w\n'
        'w.die_first(1 << 30)\n'
        "print(open('/proc/self/oom_score_adj').read().strip())\n"
        'print(resource.getrlimit(resource.RLIMIT_DATA)[0])\n'
        'try: bytearray(2 << 30)\n'
        "except MemoryError: print('refused')\n"
    )

    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.stdout.split() == ['1000', f'{1 << 30}', 'refused']


@pytest.mark.slow
def test_a_detector_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no checkpoint there'):
        Worker(DetectorOptions(tmp_path / 'w'))
    with pytest.raises(ConfigError, match='--import nothing_there'):
        Worker(DetectorOptions(imports=('nothing_there',)))


@pytest.mark.slow
def test_it_answers_and_its_death_is_told(tmp_path: Path) -> None:
    worker = Worker(DetectorOptions(precision='fp32'))
    (tmp_path / 'scan.mha').write_text('no image')
    task = Task('a', tmp_path / 'scan.mha', tmp_path / 'w', tmp_path / 'r')
    assert worker.model == 'lungdet_s'

    worker.ask(task)
    answer = worker.answer(120)
    assert isinstance(answer, Failed) and str(tmp_path) not in answer.reason
    assert worker.answer(0) is None

    os.kill(worker.process.pid or 0, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match='crashed with signal 11'):
        worker.answer(60)
    worker.kill()
