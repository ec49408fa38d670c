"""Trainings in subprocesses that can be killed, and a comparison of
results."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch

from lungdet.engine.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[1]
CLOCK = {'cost_seconds'}  # a time, which differs


def run_train(
    config: Path,
    work_dir: Path,
    *,
    kill_at: int | None = None,
    processes: int = 1,
    threads: int = 1,
    amp: bool = False,
) -> None:
    """Train or resume in a subprocess, and check how it ended.

    Args:
        config: A config file.
        work_dir: A run that exists is resumed.
        kill_at: Kill it (SIGKILL) before this iteration.
        processes: Number of them; more than one by torchrun.
        threads: Number in each process.
        amp: As in ``tools/train.py``.
    """
    code = (
        'import os, signal, sys\n'
        f'import torch; torch.set_num_threads({threads})\n'
        'from lungdet.apis import train\n'
        'from lungdet.engine import IterSeedHook\n'
        'step = IterSeedHook.before_train_iter\n'
        'def armed(self, runner, *a, **k):\n'
        '    step(self, runner, *a, **k)\n'
        f'    if runner.iter == {kill_at}: os.kill(os.getpid(), '
        'signal.SIGKILL)\n'
        'IterSeedHook.before_train_iter = armed\n'
        f'train({str(config)!r}, work_dir={str(work_dir)!r}, resume="auto", '
        f'amp={amp}, launcher={"none" if processes == 1 else "pytorch"!r})\n'
    )
    script = work_dir.parent / f'{work_dir.name}_{kill_at}.py'
    script.write_text(code)
    command = [sys.executable, str(script)]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        command = [
            sys.executable,
            '-m',
            'torch.distributed.run',
            f'--nproc_per_node={processes}',
            f'--master_port={port}',
            str(script),
        ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        env={
            **os.environ,
            'OMP_NUM_THREADS': str(threads),
            'PYTHONPATH': str(ROOT),
        },
    )
    if kill_at is None:
        assert done.returncode == 0, done.stderr[-3000:]
    elif processes == 1:
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    else:  # torchrun ends with its own code
        assert done.returncode != 0


def assert_same_end(one: Path, other: Path) -> dict:
    """Compare the last checkpoints of two work folders bit for bit.

    Returns:
        The checkpoint.
    """
    first, second = read_checkpoint(one), read_checkpoint(other)
    assert first.keys() == second.keys()
    assert {'state_dict', 'optimizer', 'runtime'} <= first.keys()
    for key in first.keys() - CLOCK:
        assert_same(first[key], second[key], key)
    return first


def assert_same(a: object, b: object, where: str = '') -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f'{where}[{k}]')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
