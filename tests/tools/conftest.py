"""Running a tool in this process."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
RunTool = Callable[..., str]


@pytest.fixture
def run_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> RunTool:
    """A function from a tool's path and arguments to what it prints."""
    monkeypatch.setenv('LOCAL_RANK', '0')  # two tools set it if it is missing

    def run(tool: str, *words: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, words)])
        try:
            runpy.run_path(str(TOOLS / tool), run_name='__main__')
        except SystemExit as stopped:
            assert not stopped.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run
