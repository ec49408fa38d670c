from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lungdet import apis
from tests.tools.conftest import RunTool


def test_folds_are_those_that_were_asked_for(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list = []

    def cross_validate(*words: object, **options: object) -> SimpleNamespace:
        received.append((words, options))
        return SimpleNamespace(text=lambda: 'the table')

    monkeypatch.setattr(apis, 'cross_validate', cross_validate)

    printed = run_tool('cross_val.py', 'configs/net.py')
    run_tool('cross_val.py', 'net.py', '--folds', '3,5', '--out', 'x', '--amp')

    out = Path('work_dirs') / 'net_cross_val'
    assert printed == f'the table\npooled results: {out / "pooled"}\n'
    assert [words for words, _ in received] == [
        ('configs/net.py', '0-9', out),
        ('net.py', '3,5', Path('x')),
    ]
    assert [options['amp'] for _, options in received] == [False, True]
