"""Every command of README and docs is one that the tools would take.

The pages' commands run for hours on data that is not here; what goes wrong in
them is a renamed option, config, key or target, and those are checked.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from lungdet.apis import load_config
from tests.command_line import parse_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
SHELL = re.compile(r'```bash\n(.*?)```', re.DOTALL)
VARIABLE = re.compile(r'[A-Z]+=\S*')
NUMBER = re.compile(r'\$SLURM_\w+')  # that a scheduler sets


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every line of every shell block."""
    lines = []
    for page in PAGES:
        for block in SHELL.findall(page.read_text()):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(NUMBER.sub('1', line), comments=True)
                while words and VARIABLE.fullmatch(words[0]):
                    words.pop(0)
                if words:
                    lines.append((page.name, words))
    return lines


def configs_of(args: argparse.Namespace) -> list[Path]:
    """Configs that a command names, but for placeholders."""
    named = getattr(args, 'configs', None) or [getattr(args, 'config', '')]
    return [ROOT / name for name in named if str(name).startswith('configs/')]


@pytest.mark.parametrize(
    ('page', 'words'),
    commands(),
    ids=[f'{page}-{" ".join(words)[:40]}' for page, words in commands()],
)
def test_command_is_understood(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if words[0] == 'make':
        targets = re.findall(
            r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE
        )
        assert words[1] in targets
        return
    if words == ['.', '.venv/bin/activate']:  # what `make install` makes
        return
    assert words[0] in ('python', 'lungdet'), f'{page}: {words}'

    args = parse_command(words, monkeypatch)

    for path in configs_of(args):
        load_config(path, getattr(args, 'cfg_options', None))
