from __future__ import annotations

import pytest

from lungdet import apis
from tests.tools.conftest import RunTool


def test_options_reach_the_function(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list = []
    monkeypatch.setattr(
        apis,
        'test',
        lambda *words, **options: received.append((words, options)),
    )

    run_tool('test.py', 'config.py', 'work')
    run_tool(
        *('test.py', 'config.py', 'work', '--out', 'out'),
        *('--candidates', 'list.csv', '--diameter', 9),
    )

    (words, plain), (_, candidates) = received
    assert words == ('config.py', 'work')
    assert plain['out'] is None and plain['candidates'] is None
    wanted = {'out': 'out', 'candidates': 'list.csv', 'diameter_mm': 9.0}
    assert wanted.items() <= candidates.items()
