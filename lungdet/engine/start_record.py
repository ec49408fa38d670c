"""What a training started from, on disk beside its checkpoints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from lungdet.io.atomic import write_text
from lungdet.registry import HOOKS

START_FILE = 'start.json'


@HOOKS.register_module()
class StartRecordHook(Hook):
    """Write start.json before the first iteration.

    It holds a digest of the weights, as initialised or loaded, and the
    series that are trained on. A resumed run leaves it as it is.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        if runner.iter or runner.rank:
            return
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        dataset = runner.train_dataloader.dataset
        record = {
            'weights': weights_digest(model),
            'train_series': list(dataset.metainfo['series_uids']),
        }
        path = Path(runner.work_dir) / START_FILE
        write_text(path, json.dumps(record, indent=1))


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 over names and values of parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
