from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from lungdet.apis import load_config
from tests.tools.conftest import RunTool

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / 'configs' / 'nodulenet_demo_qam.py'


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


@pytest.mark.parametrize(
    ('option', 'printed', 'message'),
    [
        ('+model.test_cfg.bff16=True', 'bff16=True', "did you mean 'bf16'"),
        (
            'train_dataloader.sampler.type=DefaultSampler',
            "type='DefaultSampler'",
            'train_dataloader.sampler: DefaultSampler cannot continue',
        ),
        (
            '+model.roi_head.bbox_head.roi_feat_size=5',
            'roi_feat_size=5',
            'bbox_head.roi_feat_size: 5, but',
        ),
    ],
)
def test_what_could_not_be_trained_is_printed_and_refused(
    option: str, printed: str, message: str
) -> None:
    tool = ROOT / 'tools' / 'misc' / 'print_config.py'

    done = subprocess.run(
        [sys.executable, str(tool), str(CONFIG), '--cfg-options', option],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )

    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert printed in done.stdout and message in done.stderr
