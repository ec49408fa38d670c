from __future__ import annotations

from pathlib import Path

from tests.tools.conftest import RunTool

CONFIG = Path(__file__).parents[3] / 'configs' / 'nodulenet_demo.py'


def test_cost_is_that_of_the_changed_network(run_tool: RunTool) -> None:
    tool = 'analysis_tools/get_flops.py'

    narrow = run_tool(tool, CONFIG, '--side', 32)
    wider = run_tool(
        *(tool, CONFIG, '--side', 32),
        *('--cfg-options', 'model.backbone.stem_channels=16'),
    )

    assert 'at 32^3' in narrow and 'at 32^3' in wider
    assert wider != narrow
