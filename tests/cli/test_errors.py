from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lungdet.cli import clean_errors
from lungdet.errors import SeriesError

INTERRUPTED = 'lungdet: interrupted; run the same command again to continue.\n'


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a Python program of its own prints, and how it ends."""
    return subprocess.run(
        [sys.executable, '-c', code, *words],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_errors_of_the_system_name_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        (tmp_path / 'file' / 'out').mkdir()

    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip() == (
        f'lungdet: {tmp_path}/file/out: not a directory; check the path and '
        'its permissions.'
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('library_hides_it', [False, True])
def test_interruption_is_one_line_with_the_shells_exit_code(
    library_hides_it: bool,
    number: signal.Signals,
    capsys: pytest.CaptureFixture,
) -> None:
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }[number]
    before = signal.signal(number, usual)

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if library_hides_it:
                raise ValueError('cannot format') from None
            raise

    assert stopped.value.code == 130
    assert capsys.readouterr().err == INTERRUPTED
    assert signal.signal(number, before) == usual


def test_an_interruption_may_say_what_to_do_instead(
    capsys: pytest.CaptureFixture,
) -> None:
    class Final(KeyboardInterrupt):
        advice = 'there is no way on.'

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        raise Final

    assert stopped.value.code == 130
    assert capsys.readouterr().err == (
        'lungdet: interrupted; there is no way on.\n'
    )


def test_debugging_shows_the_error_itself(tmp_path: Path) -> None:
    with pytest.raises(OSError), clean_errors('lungdet', debug=True):
        (tmp_path / 'missing' / 'out').mkdir()


def test_what_a_header_says_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture,
) -> None:
    text = 'a\x1b[2J\x07 \u202eb\x9b1mc\nd \udcff Grüße'

    with pytest.raises(SystemExit), clean_errors('lungdet'):
        raise SeriesError(text)

    assert capsys.readouterr().err == (
        'lungdet: a\\x1b[2J\\x07 \\u202eb\\x9b1mc d \\udcff Grüße\n'
    )


def test_ctrl_c_inside_of_logging_is_raised_behind_it() -> None:
    """Its locks are released around forks, where Python ignores errors."""
    inside = compile(
        'signal.raise_signal(signal.SIGINT)', logging.__file__, 'exec'
    )
    left = False
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        exec(inside, {'signal': signal})
        left = True
        time.sleep(5)

    signal.signal(signal.SIGINT, before)
    assert left and stopped.value.code == 130


INTERRUPTED_LOADING = """
import enum, os, signal, sys, time
from lungdet.cli import clean_errors

def hook(frame, event, arg):
    if frame.f_code.co_filename != enum.__file__:
        return
    while frame is not None:
        module = frame.f_locals.get('module')
        if (
            frame.f_code.co_name == 'exec_module'
            and getattr(module, '__name__', '') == 'matplotlib.ft2font'
        ):
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)
            return
        frame = frame.f_back

# a shell starts what runs in the background with Ctrl-C ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
with clean_errors('lungdet'):
    sys.setprofile(hook)
    import matplotlib.figure
    time.sleep(5)
sys.exit('matplotlib.ft2font made no enums')
"""


def test_ctrl_c_while_a_compiled_module_loads_is_raised_behind_it() -> None:
    """Interrupted in the middle, the process aborts when it ends."""
    done = run(INTERRUPTED_LOADING)

    assert done.returncode == 130, done.stderr
    assert done.stderr == INTERRUPTED


INTERRUPTED_STARTING = """
import os, signal, sys, time
from multiprocessing import get_context, resource_tracker, util
from lungdet.cli import clean_errors

def spawn_and_interrupt(*words):
    pid = spawn(*words)
    os.kill(os.getpid(), int(sys.argv[1]))
    return pid

signal.signal(signal.SIGINT, signal.default_int_handler)
resource_tracker.ensure_running()
spawn, util.spawnv_passfds = util.spawnv_passfds, spawn_and_interrupt
with clean_errors('lungdet'):
    get_context('spawn').Process(target=time.sleep, args=(0,)).start()
    time.sleep(5)
"""


@pytest.mark.skipif(os.name != 'posix', reason='processes start otherwise')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_process_starts_is_raised_behind_it(
    number: signal.Signals,
) -> None:
    """Else the process, which is not told what to do, prints a traceback."""
    done = run(INTERRUPTED_STARTING, str(int(number)))

    assert done.returncode == 130, done.stderr
    assert done.stderr == INTERRUPTED


INTERRUPTED_FORKED = """
import os, signal, time
from multiprocessing import get_context
from lungdet.cli import clean_errors

def work():
    try:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)
    except KeyboardInterrupt:
        os._exit(7)

with clean_errors('lungdet'):
    process = get_context('fork').Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork')
def test_a_signal_in_a_forked_process_is_raised_at_once() -> None:
    """It runs inside of its own start; the loaders' workers are such."""
    done = run(INTERRUPTED_FORKED)

    assert done.stdout == '7\n', done.stderr
