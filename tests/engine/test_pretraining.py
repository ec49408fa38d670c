from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungdet.apis import load_config, train
from lungdet.engine import read_backbone
from lungdet.engine.weights import load_plain
from tests.engine.conftest import write_genesis_config, write_tiny_store

NO_VALIDATION = {
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
}


@pytest.fixture(scope='module')
def genesis_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a pre-training run; its cases are in ``cases``."""
    folder = tmp_path_factory.mktemp('genesis')
    config = write_genesis_config(folder, write_tiny_store(folder / 'cases'))
    train(config, work_dir=folder / 'run')
    return folder / 'run'


def detector(config: Path, weights: Path, **options: object) -> object:
    return load_config(
        config,
        {
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            '+pretrained': {'weights': str(weights), 'config': 'genesis.py'},
            **options,
        },
    )


def test_detector_starts_from_the_pretrained_backbone(
    genesis_run: Path, tiny_config: Path, tmp_path: Path
) -> None:
    weights = genesis_run / 'backbone.safetensors'
    config = detector(tiny_config, weights)
    config.optim_wrapper.optimizer.lr = 0.0  # keeps what was loaded

    runner = train(config, work_dir=tmp_path / 'detector')

    assert runner.iter >= 2
    tensors, provenance = read_backbone(weights)
    saved = load_plain(tmp_path / 'detector')
    for name, value in runner.model.backbone.named_parameters():
        assert torch.equal(value, tensors[name]), name
    assert saved['meta']['pretraining'] == provenance
