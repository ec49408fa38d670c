"""The first steps of a detector, from random and from other weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.pretraining_proxy import (
    CONFIG,
    CROPS,
    FRESH,
    Run,
    Start,
    kept_run,
    short_config,
    smooth_variance,
    table,
)
from lungdet.apis import load_config
from lungdet.engine import export_backbone, read_backbone
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.input_contract import InputContract
from lungdet.engine.provenance import backbone_provenance
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import ConfigError


@pytest.fixture
def backbone(trained: Path, tmp_path: Path) -> Path:
    """The backbone of the tiny detector, trained for an epoch."""
    saved = read_checkpoint(trained)
    state = {
        name.removeprefix('backbone.'): value
        for name, value in saved['state_dict'].items()
        if name.startswith('backbone.')
    }
    provenance = backbone_provenance(
        method='GenesisPretrainer',
        config='genesis.py',
        contract=InputContract.from_dict(saved['meta']['input_contract']),
        scans=TrainingScans(('1.1',), folds='train'),
        iterations=1,
        epochs=1,
        seed=0,
        alarms=[],
    )
    export_backbone(tmp_path / 'backbone.safetensors', state, provenance)
    return tmp_path / 'backbone.safetensors'


@pytest.mark.slow
def test_runs_differ_by_their_start_and_are_made_once(
    tiny_config: Path, backbone: Path, tmp_path: Path
) -> None:
    cfg = short_config(tiny_config, {}, 1)
    out = tmp_path / 'out'
    out.mkdir()
    starts = [
        Start(FRESH),
        Start('full', backbone),
        Start('half', backbone, 'encoder'),
    ]

    runs = [kept_run(cfg, start, 0, out) for start in starts]

    assert len({run.loss for run in runs}) == 3
    assert all(1 <= run.rank <= 8 for run in runs)
    assert all(1 <= run.rank_after <= 8 for run in runs)
    assert all(0 < run.smooth < 1 for run in runs)
    assert all(run.cpu_seconds > 0 for run in runs)
    files = sorted(p.name for p in out.iterdir())
    assert files == [f'{s}_seed0.json' for s in ('fresh', 'full', 'half')]
    path = out / 'full_seed0.json'
    stored = json.loads(path.read_text())
    stored['run']['loss'] = 7.0
    path.write_text(json.dumps(stored))
    assert kept_run(cfg, starts[1], 0, out).loss == 7.0
    tensors, provenance = read_backbone(backbone)
    tensors['preBlock.0.weight'] *= 2
    export_backbone(backbone, tensors, provenance)
    assert kept_run(cfg, starts[1], 0, out).loss != 7.0


def test_difference_is_paired_by_seed() -> None:
    def run(loss: float) -> Run:
        return Run(loss, 14.0, 9.0, 0.2, 60.0)

    text = table(
        {
            FRESH: [run(3.0), run(4.0), run(5.0)],
            'full': [run(4.0), run(5.1), run(5.9)],
        }
    )

    # differences 1, 1.1, 0.9: deviation 0.1, t of two degrees 4.303
    assert '+1.00 (+0.75 to +1.25)' in text
    assert '| 4.00 | 3.00 4.00 5.00 | -' in text and '| 180' in text


def test_smooth_features_are_told_from_noise() -> None:
    noise = torch.randn(2, 3, 16, 16, 16)
    line = np.linspace(0, 1, 16)
    ramp = torch.tensor(line).expand(2, 3, 16, 16, 16)
    counts = np.convolve(np.ones(16), np.ones(5), 'same')
    smooth = np.convolve(line, np.ones(5), 'same') / counts

    assert smooth_variance(noise) < 0.05
    ratio = smooth.var() / line.var()
    assert smooth_variance(ramp) == pytest.approx(ratio)
    constant = torch.cat([ramp, torch.ones_like(ramp)], 1)
    assert smooth_variance(constant) == pytest.approx(smooth_variance(ramp))


def test_starts_are_read() -> None:
    assert Start.parse('a=b.safetensors') == Start('a', Path('b.safetensors'))
    assert Start.parse('a=b:encoder') == Start('a', Path('b'), 'encoder')
    for text in ('a', 'a=', 'fresh=b', 'a b=c'):
        with pytest.raises(ConfigError, match='give NAME=WEIGHTS'):
            Start.parse(text)


def test_config_of_the_small_detector_is_shortened() -> None:
    cfg = short_config(CONFIG, CROPS, 6)

    data = cfg.train_dataloader.dataset.datasets
    crops = [count for one in data for count in one.crops.values()]
    assert sum(crops) == 40 * cfg.train_dataloader.batch_size
    assert not data[0].crops.mined and not cfg.custom_hooks
    whole = load_config(CONFIG)
    assert cfg.optim_wrapper == whole.optim_wrapper
    assert cfg.model == whole.model
