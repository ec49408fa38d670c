"""Repairs of mmengine 0.10.7: each test fails without its repair.

Where stock mmengine can be asked directly, the test also shows its failure,
so that a release that mends it is noticed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from lungdet.apis import load_config, train
from lungdet.engine import BF16OptimWrapper, LungRunner
from lungdet.engine.checkpoint import read_checkpoint, resolve_checkpoint
from lungdet.ops import precision
from lungdet.registry import OPTIM_WRAPPERS

ROOT = Path(__file__).parents[2]
NO_VALIDATION = {
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
}


def test_environment_is_logged_without_distutils_and_pkg_resources(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('distutils', 'pkg_resources'):
        monkeypatch.setitem(sys.modules, name, None)
    config = load_config(tiny_config)
    config.work_dir = str(tmp_path / 'ours')

    LungRunner.from_cfg(config)

    config.work_dir = str(tmp_path / 'stock')
    with pytest.raises(ImportError, match='distutils'):
        Runner.from_cfg(config)


class Doubling(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[torch.dtype] = []

    def forward(self) -> torch.Tensor:
        out = self.layer(torch.ones(1, 2))
        self.seen.append(out.dtype)
        return (out.float() ** 2).sum()


def test_bfloat16_trains_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: True)
    model = Doubling()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = BF16OptimWrapper(optimizer=sgd)
    before = model.layer.weight.clone()

    for _ in range(3):
        with wrapper.optim_context(model):
            loss = model()
        wrapper.update_params(loss)

    assert model.seen == [torch.bfloat16] * 3
    assert not torch.equal(before, model.layer.weight)
    if not torch.cuda.is_available():
        with pytest.raises(AssertionError, match='only available'):
            AmpOptimWrapper(optimizer=sgd)


def test_log_holds_no_line_that_says_nothing(
    tiny_config: Path, tmp_path: Path
) -> None:
    train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )
    (log,) = (tmp_path / 'work').rglob('*.log')

    text = log.read_text()

    assert 'Epoch(train)' in text
    for noise in (
        'Failed to search registry',
        'paramwise_options',
        'FileClient',
        'HardDiskBackend',
    ):
        assert noise not in text


def test_killed_in_a_save_the_last_good_file_is_resumed(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, saved = torch.save, []

    def cut_short(content: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) < 3:
            return whole(content, path)
        path.write_bytes(b'half a checkpoint')
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', cut_short)
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 2}
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)
    monkeypatch.setattr(torch, 'save', whole)

    left = resolve_checkpoint(tmp_path / 'work')
    assert left is not None
    assert read_checkpoint(left)['meta']['iter'] == 4
    files = [path.name for path in (tmp_path / 'work').glob('*.pth')]
    assert sorted(files) == ['epoch_1.pth', 'iter_3.pth']


def test_validation_that_was_cut_off_is_made_up_for(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmengine.runner import ValLoop

    options = {'train_cfg.max_epochs': 2}
    run = ValLoop.run
    monkeypatch.setattr(ValLoop, 'run', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)
    assert not (tmp_path / 'work' / 'best.pth').exists()
    monkeypatch.setattr(ValLoop, 'run', run)

    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        resume='auto',
        cfg_options=options,
    )

    best = read_checkpoint(tmp_path / 'work' / 'best.pth')['meta']
    assert best['epoch'] == 2 and best['iter'] == runner.iter
    kept = [p.name for p in (tmp_path / 'work').glob('epoch_*.pth')]
    assert kept == ['epoch_2.pth']  # the best file adds no further epoch file
    assert (tmp_path / 'work' / 'last_checkpoint').read_text() == kept[0]


def test_checkpoint_does_not_grow_with_the_history_of_losses(
    tiny_config: Path, tmp_path: Path
) -> None:
    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )
    for _ in range(5000):
        runner.message_hub.update_scalar('train/loss', 1.0)

    runner.save_checkpoint(tmp_path, 'epoch_2.pth')

    short = resolve_checkpoint(tmp_path / 'work')
    grown = (tmp_path / 'epoch_2.pth').stat().st_size - short.stat().st_size
    assert abs(grown) < 100


@pytest.mark.parametrize('name', ['SGD', 'Adam', 'AdamW'])
def test_optimizers_of_configs_are_torchs_own(name: str) -> None:
    from mmengine.optim import build_optim_wrapper

    with DefaultScope.overwrite_default_scope('lungdet'):
        wrapper = build_optim_wrapper(
            torch.nn.Linear(1, 1),
            {'type': 'OptimWrapper', 'optimizer': {'type': name, 'lr': 0.1}},
        )

    assert type(wrapper.optimizer) is getattr(torch.optim, name)
    assert OPTIM_WRAPPERS.get('BF16OptimWrapper') is BF16OptimWrapper


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from lungdet.apis import load_config, train
options = {options!r}
runner = train(load_config({config!r}, options), work_dir={work!r},
               launcher='pytorch')
model = runner.model.module
stored = torch.load({work!r} + '/epoch_2.pth', weights_only=True)
for key, value in model.state_dict().items():
    assert torch.equal(value, stored['state_dict'][key]), (runner.rank, key)
print('same on rank', runner.rank)
"""


@pytest.mark.slow
def test_ranks_agree_in_weights_and_running_statistics(
    tiny_config: Path, tmp_path: Path
) -> None:
    """On a CPU, with heads that start in the second epoch."""
    options = {
        **NO_VALIDATION,
        'train_cfg.max_epochs': 2,
    }
    script = tmp_path / 'ranks.py'
    script.write_text(
        SCRIPT.format(
            options=options,
            config=str(tiny_config),
            work=str(tmp_path / 'work'),
        )
    )
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]

    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--nproc_per_node=2',
            f'--master_port={port}',
            str(script),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert 'same on rank 0' in done.stdout and 'same on rank 1' in done.stdout
