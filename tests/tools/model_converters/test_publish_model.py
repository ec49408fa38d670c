from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lungdet.apis import publish
from tests.tools.conftest import RunTool


def test_words_become_a_release(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[Any] = []

    def record(*args: Any, **kwargs: Any) -> SimpleNamespace:
        calls.append((args, kwargs))
        return SimpleNamespace(text=lambda: 'the table')

    monkeypatch.setattr(publish, 'publish_model', record)
    commands = tmp_path / 'commands.txt'
    commands.write_text('lungdet prepare a b\npython tools/train.py c\n')

    printed = run_tool(
        'model_converters/publish_model.py',
        *('work', '--froc', 'a/test', 'b/test', '--name', 'net'),
        *('--out', tmp_path, '--commands', commands),
    )

    (((*words, path), options),) = calls
    assert words == ['work', ['a/test', 'b/test']]
    assert path == tmp_path / 'net.safetensors'
    assert options['commands'] == commands.read_text().splitlines()
    assert printed.startswith('the table\nwritten: ')
