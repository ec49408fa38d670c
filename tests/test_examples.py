"""The ``>>>`` examples of the docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('evaluation', 'geometry', 'ops')


def module_names() -> list[str]:
    paths = [ROOT / 'lungdet' / 'hounsfield.py']
    for package in PACKAGES:
        paths += sorted((ROOT / 'lungdet' / package).glob('[!_]*.py'))
    return [
        '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        for path in paths
    ]


@pytest.mark.parametrize('name', module_names())
def test_examples(name: str) -> None:
    module = importlib.import_module(name)

    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)

    assert result.failed == 0, 'the difference stands in the output'
    assert result.attempted, f'{name} has no example'
