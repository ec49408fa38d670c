"""Every command of the page prints what stands below it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lungdet.evaluation.report import TESTED_RUN

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'evaluation.md'


def examples() -> list[tuple[str, str]]:
    """(command, printed) of every console block, in the page's order."""
    pairs = []
    blocks = re.findall(r'```console\n(.*?)```', PAGE.read_text(), re.DOTALL)
    for block in blocks:
        for part in re.split(r'^\$ ', block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition('\n')
            pairs.append((command, printed.rstrip('\n')))
    return pairs


@pytest.mark.slow
def test_commands_print_what_the_page_shows(
    test_data: Path, tmp_path: Path
) -> None:
    for file in (test_data / 'froc-oracles').iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    functions = (
        f'lungdet() {{ {sys.executable} -m lungdet.cli "$@"; }}\n'
        f'python() {{ {sys.executable} "$@"; }}\n'
    )
    assert len(examples()) > 25

    for command, printed in examples():
        done = subprocess.run(
            ['bash', '-c', functions + command],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.stdout.rstrip('\n') == printed, command


def test_every_caveat_is_listed_by_its_name() -> None:
    code = ''.join(
        path.read_text()
        for path in (ROOT / 'lungdet' / 'evaluation').glob('*.py')
    )
    calls = r"Caveat\(\s*'([a-z0-9-]+)'"
    names = set(re.findall(calls, code)) | {TESTED_RUN}

    table = PAGE.read_text().split('All caveats, by name')[1]
    listed = set(re.findall(r'`([a-z0-9]+(?:-[a-z0-9]+)+)`', table))

    assert len(names) >= 17
    assert names == listed
