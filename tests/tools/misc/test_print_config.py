from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from lungdet.apis import load_config
from tests.tools.conftest import RunTool

CONFIG = Path(__file__).parents[3] / 'configs' / 'nodulenet_demo_qam.py'


def test_printed_config_is_the_one_that_would_run(
    run_tool: RunTool, tmp_path: Path
) -> None:
    printed = run_tool(
        'misc/print_config.py', CONFIG, '--cfg-options', 'data_root=elsewhere'
    )
    (tmp_path / 'printed.py').write_text(printed)

    read = Config.fromfile(tmp_path / 'printed.py')

    assert read.train_dataloader.dataset.data_root == 'elsewhere'
    wanted = load_config(CONFIG, {'data_root': 'elsewhere'})
    assert read.to_dict() == wanted.to_dict()
