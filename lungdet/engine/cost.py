"""What a training cost, also when it was killed and continued."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from lungdet.io.atomic import write_text
from lungdet.registry import HOOKS

COST_FILE = 'cost.json'


@HOOKS.register_module()
class TrainingCostHook(Hook):
    """Write cost.json: CPU-seconds, or GPU-seconds where there are GPUs.

    Workers that load data count when they end: at the end of the training
    if they persist, so a run that was killed loses theirs. Each checkpoint
    carries what it cost until then, so a continued run
    counts what led to its checkpoint and no more.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self.start = 0.0

    def before_train(self, runner: Any) -> None:
        self.start = _seconds(runner.world_size)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.before = float(checkpoint.get('cost_seconds', 0.0))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['cost_seconds'] = self._spent(runner)

    def after_train(self, runner: Any) -> None:
        if runner.rank:
            return
        unit = 'GPU' if torch.cuda.is_available() else 'CPU'
        content = {'seconds': self._spent(runner), 'unit': unit}
        write_text(Path(runner.work_dir) / COST_FILE, json.dumps(content))

    def _spent(self, runner: Any) -> float:
        return self.before + _seconds(runner.world_size) - self.start


def _seconds(processes: int) -> float:
    """Of all GPUs, or of this process's CPU time and its workers'."""
    if torch.cuda.is_available():
        return time.monotonic() * processes
    used = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return processes * sum(u.ru_utime + u.ru_stime for u in used)


def training_cost(folder: Path) -> tuple[float, str]:
    """Seconds of a finished training and their unit, CPU or GPU."""
    content = json.loads((folder / COST_FILE).read_text())
    return content['seconds'], content['unit']
