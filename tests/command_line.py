"""How a program parses its command line, without running it."""

from __future__ import annotations

import argparse
import importlib
import runpy
import sys
from pathlib import Path

import pytest

from lungdet import cli

ROOT = Path(__file__).parents[1]


class Parsed(Exception):
    """Ends a program as soon as its command line is parsed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.namespace = args


def parse_command(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> argparse.Namespace:
    """Arguments of ``lungdet ...``, ``python FILE ...`` or
    ``python -m MODULE ...``, as the program parses them."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: object) -> None:
        raise Parsed(parse_args(self, *args))

    is_module = words[1] == '-m'
    rest = words[1:] if words[0] == 'lungdet' else words[2 + is_module :]
    with monkeypatch.context() as patch, pytest.raises(Parsed) as caught:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [words[0], *rest])
        if words[0] == 'lungdet':
            cli.main()
        elif is_module:
            importlib.import_module(words[2]).main()
        else:
            runpy.run_path(str(ROOT / words[1]), run_name='__main__')
    return caught.value.namespace
