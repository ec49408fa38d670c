from __future__ import annotations

import pytest

from lungdet.apis import compare_fusions
from tests.tools.conftest import RunTool


def test_options_reach_the_function(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list = []
    monkeypatch.setattr(
        compare_fusions,
        'compare_fusions',
        lambda *words, **options: received.append((words, options)),
    )

    run_tool(
        *('analysis_tools/compare_fusions.py', 'config.py', 'work'),
        *('--out', 'out', '--cfg-options', 'data_root=cases'),
    )

    options = {'out': 'out', 'cfg_options': {'data_root': 'cases'}}
    assert received == [(('config.py', 'work'), options)]
