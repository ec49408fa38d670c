from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch

from lungdet.engine.start_record import StartRecordHook, weights_digest


def runner(folder: Path, model: torch.nn.Module, *, step: int = 0) -> object:
    dataset = SimpleNamespace(metainfo={'series_uids': ['1.2', '1.3']})
    return SimpleNamespace(
        iter=step,
        rank=0,
        model=model,
        work_dir=str(folder),
        train_dataloader=SimpleNamespace(dataset=dataset),
    )


def test_start_is_written_once_and_left_by_a_resumed_run(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = torch.nn.BatchNorm1d(3)
    hook = StartRecordHook()

    hook.before_train(runner(tmp_path, model))
    first = json.loads((tmp_path / 'start.json').read_text())
    model.running_mean += 1
    hook.before_train(runner(tmp_path, model, step=4))

    assert json.loads((tmp_path / 'start.json').read_text()) == first
    assert first['train_series'] == ['1.2', '1.3']
    assert first['weights'] != weights_digest(model)
    model.running_mean -= 1
    assert first['weights'] == weights_digest(model)
