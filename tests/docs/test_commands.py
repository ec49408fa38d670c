"""Every command of README and docs is one that the tools would take.

The pages' commands run for hours on data that is not here; what goes wrong in
them is a renamed option, config, key or target, and those are checked.
"""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from lungdet import cli
from lungdet.apis import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
SHELL = re.compile(r'```bash\n(.*?)```', re.DOTALL)
VARIABLE = re.compile(r'[A-Z]+=\S*')


class Parsed(Exception):
    """Ends a program when its command line is understood."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.namespace = args


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every line of every shell block."""
    found = []
    for page in PAGES:
        for block in SHELL.findall(page.read_text()):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                while words and VARIABLE.fullmatch(words[0]):
                    words.pop(0)
                if words:
                    found.append((page.name, words))
    return found


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Parsed:
    """What the program makes of its words."""
    understand = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: object) -> None:
        raise Parsed(understand(self, *args))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    module = words[1] == '-m'
    rest = words[1:] if words[0] == 'lungdet' else words[2 + module :]
    monkeypatch.setattr(sys, 'argv', [words[0], *rest])
    with pytest.raises(Parsed) as caught:
        if words[0] == 'lungdet':
            cli.main()
        elif module:
            importlib.import_module(words[2]).main()
        else:
            runpy.run_path(str(ROOT / words[1]), run_name='__main__')
    return caught.value


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
    assert words[0] in ('python', 'lungdet'), f'{page}: {words}'

    args = parse(words, monkeypatch).namespace

    for path in configs_of(args):
        load_config(path, getattr(args, 'cfg_options', None))
