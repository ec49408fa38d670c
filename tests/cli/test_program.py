"""The ``lungdet`` command as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lungdet.cli import build_parser, main
from lungdet.cli.program import COMMANDS

ROOT = Path(__file__).parents[2]


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code = main(['prepare', 'folder', str(tmp_path), str(tmp_path / 'out')])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert 'no scan found' in error


def test_every_command_is_listed_with_its_help() -> None:
    text = build_parser().format_help()

    for name in COMMANDS:
        assert f'\n    {name} ' in text


def test_every_file_of_the_package_with_a_parser_is_a_command() -> None:
    files = (ROOT / 'lungdet' / 'cli').glob('*.py')

    with_parser = {f.stem for f in files if 'def add_parser' in f.read_text()}

    assert with_parser == {name.replace('-', '_') for name in COMMANDS}


@pytest.mark.parametrize('words', [['--help'], ['froc', '--help']])
def test_module_runs_and_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        'import runpy, sys\n'
        f'sys.argv[1:] = {words}\n'
        'try:\n'
        "    runpy.run_module('lungdet.cli', run_name='__main__')\n"
        'except SystemExit as stopped:\n'
        '    assert not stopped.code\n'
        "heavy = {'numpy', 'torch', 'matplotlib'} & set(sys.modules)\n"
        'assert not heavy, heavy\n'
    )

    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: lungdet')
