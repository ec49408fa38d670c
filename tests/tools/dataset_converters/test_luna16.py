from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.prepare import Summary
from tests.tools.conftest import RunTool


def test_it_is_the_command_that_prepares_luna16(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict = {}

    def prepare(data: Path, out: Path, **options: object) -> Summary:
        received.update(options, data=data, out=out)
        return Summary([])

    monkeypatch.setattr('lungdet.prepare.prepare_luna16', prepare)

    run_tool('dataset_converters/luna16.py', 'scans', 'cases', '--jobs', 2)

    wanted = {'data': Path('scans'), 'out': Path('cases'), 'jobs': 2}
    assert wanted.items() <= received.items()
