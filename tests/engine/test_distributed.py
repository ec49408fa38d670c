from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lungdet.engine.distributed import (
    from_all_ranks,
    from_main_process,
    synchronised,
)
from lungdet.errors import ConfigError
from lungdet.ops import BatchNorm3d
from tests.engine.runs import NO_VALIDATION

ROOT = Path(__file__).parents[2]
# two ranks on a CPU, joined by a file
RANK = """
import os, sys
from datetime import timedelta
import torch.distributed
from lungdet.engine.distributed import from_all_ranks, from_main_process

rank = int(sys.argv[1])
torch.distributed.init_process_group(
    'gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2,
    timeout=timedelta(seconds=60))
print(from_all_ranks([rank] * (rank + 1)))
print(from_main_process(lambda: f'of rank {rank}'))
try:
    from_main_process(lambda: 1 / rank)
except ZeroDivisionError as error:
    print('raised:', error)
"""


def test_batch_norms_are_synchronised_on_gpus_or_refused() -> None:
    net = torch.nn.Sequential(BatchNorm3d(4), torch.nn.ReLU())

    with pytest.raises(ConfigError, match='sync_bn.*needs a GPU'):
        synchronised(net, 'torch', gpu=False)
    with pytest.raises(ConfigError, match="sync_bn: 'mmcv'"):
        synchronised(net, 'mmcv', gpu=True)
    same = synchronised(net, 'torch', gpu=True)

    assert isinstance(same[0], torch.nn.SyncBatchNorm)
    assert same.state_dict().keys() == net.state_dict().keys()


def test_one_process_is_the_main_one() -> None:
    assert from_all_ranks([3, 4]) == [3, 4]
    assert from_main_process(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        from_main_process(lambda: 1 / 0)


@pytest.mark.slow
def test_every_rank_gets_what_the_first_one_computes_or_raises(
    tmp_path: Path,
) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, '-c', RANK, str(rank), str(tmp_path / 'meet')],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
        )
        for rank in (0, 1)
    ]

    for rank in ranks:
        output, _ = rank.communicate(timeout=120)
        assert output.splitlines()[-3:] == [
            '[0, 1, 1]',
            'of rank 0',
            'raised: division by zero',
        ]


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from lungdet.apis import load_config, train
from lungdet.engine.hard_negatives import HardNegativeHook

def spied(self, model, store, uid):
    mined_with.append([b.tolist() for b in model.buffers()])
    return false_positives(self, model, store, uid)

mined_with = []
false_positives = HardNegativeHook.false_positives
HardNegativeHook.false_positives = spied
options = {options!r}
runner = train(load_config({config!r}, options), work_dir={work!r},
               launcher='pytorch')
model = runner.model.module
stored = torch.load({work!r} + '/epoch_2.pth', weights_only=True)
averaged = [h.ema_model for h in runner.hooks if hasattr(h, 'ema_model')]
state = stored['state_dict']
if averaged:  # a checkpoint's weights are the averaged ones
    state = {{k[7:]: v for k, v in stored['ema_state_dict'].items()}}
    for key, value in averaged[0].module.state_dict().items():
        assert torch.equal(value, stored['state_dict'][key]), key
for key, value in model.state_dict().items():
    assert torch.equal(value, state[key]), (runner.rank, key)
assert model.rpn_head.loss_cls.positives[0] > 1
from pathlib import Path
for number, statistics in enumerate(mined_with):
    name = f'mined_{{runner.rank}}_{{number}}'
    Path({work!r}, name).write_text(repr(statistics))
Path({work!r}, 'same_on_rank_' + str(runner.rank)).touch()
"""


EMA = {
    'type': 'EMAHook',
    'ema_type': 'MomentumAnnealingEMA',
    'momentum': 0.5,
    'update_buffers': True,
}


MINES = {'type': 'HardNegativeHook', 'at': (0.5,)}
MINED_CROPS = {
    '+train_dataloader.dataset.crops': {'nodule': 2, 'mined': 2},
    'train_dataloader.dataset.background_ratio': 0.0,
    'train_dataloader.sampler.type': 'MixSampler',
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('hooks', 'crops'),
    [([], {}), ([EMA], {}), ([EMA, MINES], MINED_CROPS)],
    ids=['last', 'averaged', 'mined'],
)
def test_ranks_agree_in_weights_and_running_statistics(
    tiny_config: Path, tmp_path: Path, hooks: list, crops: dict
) -> None:
    """On a CPU, with heads that start in the second epoch."""
    options = {
        **NO_VALIDATION,
        'train_cfg.max_epochs': 2,
        'custom_hooks': hooks,
        **crops,
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
    # Two processes write to one stream in pieces: what a rank saw is a file.
    same = sorted(file.name for file in (tmp_path / 'work').glob('same_on_*'))
    assert same == ['same_on_rank_0', 'same_on_rank_1']
    statistics = [
        file.read_text() for file in (tmp_path / 'work').glob('mined_*')
    ]
    assert bool(statistics) == (MINES in hooks)
    assert len(set(statistics)) <= 1
