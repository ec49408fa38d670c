from __future__ import annotations

import json
from pathlib import Path

from tests.tools.conftest import RunTool


def test_steps_to_a_loss_are_printed_and_curves_drawn(
    run_tool: RunTool, tmp_path: Path
) -> None:
    for name, start in (('fast', 4.0), ('slow', 8.0)):
        folder = tmp_path / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [{'step': k, 'loss': start - k} for k in range(1, 9)]
        text = '\n'.join(map(json.dumps, lines))
        (folder / 'scalars.json').write_text(text)
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
