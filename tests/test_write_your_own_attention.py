"""docs/write_your_own_attention.md, run exactly as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from lungdet.apis import load_config
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.models import ResBlock3D
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from lungdet.registry import MODELS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'write_your_own_attention.md'


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Path]:
    """The project's root with the two files of the page."""
    for name in ('configs', 'lungdet', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    text = PAGE.read_text()
    files = re.findall(r'`(\w+\.py)`:\n\n```python\n(.*?)```', text, re.DOTALL)
    assert [name for name, _ in files] == ['my_attention.py', 'my_config.py']
    for name, content in files:
        (tmp_path / name).write_text(content)
    yield tmp_path
    MODELS.module_dict.pop('SliceAttention', None)
    sys.modules.pop('my_attention', None)


def test_the_config_is_under_15_lines(reader: Path) -> None:
    assert len((reader / 'my_config.py').read_text().splitlines()) < 15


def test_the_class_trains_in_every_block(
    reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(reader)
    config = load_config(reader / 'my_config.py')
    with DefaultScope.overwrite_default_scope('lungdet'):
        backbone = MODELS.build(config.model.backbone)
    added = {k: v for k, v in backbone.named_parameters() if 'slice_' in k}
    before = {key: value.detach().clone() for key, value in added.items()}
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)

    for _ in range(2):
        outs = backbone(torch.randn(1, 1, 32, 32, 32))
        optimizer.zero_grad()
        sum(out.square().mean() for out in outs).backward()
        optimizer.step()

    blocks = [m for m in backbone.modules() if isinstance(m, ResBlock3D)]
    assert len(added) == 2 * len(blocks)  # a weight and a bias each
    for key, value in added.items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.slow
def test_the_command_trains(reader: Path) -> None:
    (command,) = re.findall(r'```bash\n(.*?)```', PAGE.read_text(), re.DOTALL)
    write_luna16_phantoms(
        reader / 'scans', scans=10, seed=1, size='small', progress=False
    )
    prepare_luna16(
        reader / 'scans', reader / 'work_dirs/demo/cases', progress=False
    )
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'

    done = subprocess.run(
        ['bash', '-c', command],
        cwd=reader,
        capture_output=True,
        text=True,
        env={**os.environ, 'PATH': path},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = read_checkpoint(reader / 'work_dirs' / 'my_config')
    assert checkpoint['meta']['iter'] >= 2
    assert checkpoint['meta']['model']['train_cfg']['crop_size'] == [64] * 3
    names = [k for k in checkpoint['state_dict'] if 'slice_attention' in k]
    blocks = checkpoint['meta']['model']['backbone']['blocks']
    assert len(names) == 2 * sum(blocks)
