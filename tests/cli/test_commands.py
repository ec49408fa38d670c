from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lungdet.cli.commands import Commands

CHILD = """
import pathlib, time
pathlib.Path('started').touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    print('child: interrupted')
    raise SystemExit(130)
"""
PROGRAM = """
from pathlib import Path
from lungdet.cli import clean_errors
from lungdet.cli.commands import Commands
here = Path.cwd()
with clean_errors('program'):
    commands = Commands(here, 2, here / 'commands.txt')
    commands.run('wait: for long', 'python', here / 'child.py')
    commands.run('never', 'python', '--version')
"""


def test_a_stage_is_a_line_and_its_command_is_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    commands = Commands(tmp_path, 2, tmp_path / 'out' / 'commands.txt')
    commands.run(
        'first: say nothing', 'python', '-c', f'x = r"{tmp_path}/a b"'
    )

    first, seconds = capsys.readouterr().out.splitlines()
    assert first == '[1/2] first: say nothing'
    assert re.fullmatch(r' +\d+ s', seconds)
    text = (tmp_path / 'out' / 'commands.txt').read_text()
    assert text == 'python -c \'x = r"a b"\'\n'


def test_a_command_that_fails_ends_all_with_its_code(tmp_path: Path) -> None:
    commands = Commands(tmp_path, 1, tmp_path / 'commands.txt')

    with pytest.raises(SystemExit) as stopped:
        commands.run('fail', 'python', '-c', 'raise SystemExit(3)')

    assert stopped.value.code == 3


def test_interrupt_is_told_once_by_the_command(tmp_path: Path) -> None:
    """Ctrl-C reaches both; the program leaves the words to the command."""
    (tmp_path / 'child.py').write_text(CHILD)
    program = subprocess.Popen(
        [sys.executable, '-c', PROGRAM],
        cwd=tmp_path,
        start_new_session=True,
        # what a shell runs in the background is deaf to it
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not (tmp_path / 'started').exists():
            assert program.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)  # until it sleeps
        os.killpg(program.pid, signal.SIGINT)
        text, _ = program.communicate(timeout=20)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)

    assert program.returncode == 130
    assert text.splitlines() == ['[1/2] wait: for long', 'child: interrupted']
