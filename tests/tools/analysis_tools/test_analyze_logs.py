from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.tools.conftest import TOOLS, RunTool

TOOL = TOOLS / 'analysis_tools' / 'analyze_logs.py'


def write_log(work_dir: Path, start: float) -> None:
    folder = work_dir / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    lines = [{'step': k, 'loss': start - k} for k in range(1, 9)]
    text = '\n'.join(map(json.dumps, lines))
    (folder / 'scalars.json').write_text(text)


def test_steps_to_a_loss_are_printed_and_curves_drawn(
    run_tool: RunTool, tmp_path: Path
) -> None:
    for name, start in (('fast', 4.0), ('slow', 8.0)):
        write_log(tmp_path / name, start)
    picture = tmp_path / 'curves.png'

    printed = run_tool(
        'analysis_tools/analyze_logs.py',
        *(tmp_path / 'fast', tmp_path / 'slow'),
        *('--below', 1.5, '--window', 1, '--out', picture),
    )

    rows = {
        cells[0].rpartition('/')[2]: cells[1:]
        for line in printed.splitlines()
        if len(cells := [c.strip() for c in line.strip('|').split('|')]) > 2
    }
    # 4 - k and 8 - k are below 1.5 from step 3 and 7
    assert '3' in rows['fast'] and '7' in rows['slow']
    assert picture.stat().st_size > 5000


def test_a_figure_of_an_unknown_type_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    out = tmp_path / 'curves.xyz'
    words = ['analyze_logs.py', str(tmp_path), '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', words)

    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TOOL), run_name='__main__')

    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'curves.xyz: figures are written as .png' in line


def test_a_figure_that_cannot_be_written_leaves_the_old_one(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_log(tmp_path / 'run', 4.0)
    picture = tmp_path / 'pictures' / 'curves.png'
    picture.parent.mkdir()
    picture.write_text('old')

    def full(self: Figure, path: Path, **given: object) -> None:
        Path(path).write_text('half')
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Figure, 'savefig', full)
        with pytest.raises(ZeroDivisionError):
            run_tool(
                'analysis_tools/analyze_logs.py',
                *(tmp_path / 'run', '--out', picture),
            )

    assert picture.read_text() == 'old'
    assert [*picture.parent.iterdir()] == [picture]
