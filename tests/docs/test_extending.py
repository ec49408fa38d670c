"""The page's files exist, and its options change a config."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from lungdet.apis import load_config
from lungdet.cli import add_cfg_options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'extending.md').read_text()
INVENTED = {'lungdet/cli/my_command.py'}
OPTIONS = re.findall(r'`(\+?[\w.]+=[^`\s]+)`', PAGE.split('Without code')[1])


def test_files_of_the_page_exist() -> None:
    paths = set(re.findall(r'`((?:lungdet|tests)/[\w/.]+)`', PAGE)) - INVENTED

    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_page_has_options() -> None:
    assert len(OPTIONS) > 8


@pytest.mark.parametrize('option', OPTIONS)
def test_option_changes_the_config(option: str) -> None:
    path = ROOT / 'configs' / 'nodulenet_base.py'
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    args = parser.parse_args(['--cfg-options', option])

    changed = load_config(path, args.cfg_options)

    assert changed.to_dict() != load_config(path).to_dict()
