from __future__ import annotations

from pathlib import Path

from tests.engine.conftest import write_tiny_store
from tests.tools.conftest import RunTool


def test_as_many_pictures_as_asked_for(
    run_tool: RunTool, tmp_path: Path
) -> None:
    store, out = write_tiny_store(tmp_path / 'cases'), tmp_path / 'pictures'

    printed = run_tool(
        'analysis_tools/browse_dataset.py', store, out, '--max', 2
    )

    assert printed == f'2 of 10 nodules in {out}\n'
    assert len(list(out.glob('*.png'))) == 2
