"""What a run gives to data sets and loaders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from lungdet.apis import load_config, train
from lungdet.engine import LungRunner
from lungdet.errors import ConfigError
from tests.engine.runs import STAYING_WORKERS


def test_worker_options_without_workers(tiny_config: Path) -> None:
    config = load_config(tiny_config)
    loader = {
        **config.train_dataloader,
        'num_workers': 0,
        'persistent_workers': True,
        'prefetch_factor': 2,
    }
    with DefaultScope.overwrite_default_scope('lungdet'):
        built = LungRunner.build_dataloader(loader, seed=0)

    assert built.num_workers == 0


def crops(config: Path, seed: int | None) -> list[torch.Tensor]:
    loader = load_config(config).train_dataloader
    with DefaultScope.overwrite_default_scope('lungdet'):
        data = LungRunner.build_dataloader(loader, seed=seed).dataset
    return [data[k]['inputs'] for k in range(3)]


def test_another_seed_draws_other_crops(tiny_config: Path) -> None:
    one, again, other = (crops(tiny_config, seed) for seed in (7, 7, 8))

    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))


def test_a_data_set_may_keep_a_seed_of_its_own(tiny_config: Path) -> None:
    config = load_config(tiny_config, {'+train_dataloader.dataset.seed': 3})
    with DefaultScope.overwrite_default_scope('lungdet'):
        loader = LungRunner.build_dataloader(config.train_dataloader, seed=7)

    assert loader.dataset.seed == 3 and loader.sampler.seed == 7


def test_late_batches_start_with_the_larger_crops(tiny_config: Path) -> None:
    """The epoch is set at the crops alone; the base drops the ninth sample."""
    config = load_config(
        tiny_config,
        {
            '+train_pipeline.0.late_size': (48, 48, 48),
            '+train_pipeline.0.late_epoch': 3,
            '+train_dataloader.batch_sampler': {
                'type': 'LateBatchSampler',
                'late_batch_size': 1,
            },
            **STAYING_WORKERS,
        },
    )
    with DefaultScope.overwrite_default_scope('lungdet'):
        loader = LungRunner.build_dataloader(config.train_dataloader, seed=0)
    crops = []
    for epoch in range(4):
        loader.batch_sampler.sampler.set_epoch(epoch)
        batches = [batch['inputs'] for batch in loader]
        crops.append([len(inputs) for inputs in batches])
        sides = {crop.shape[1] for inputs in batches for crop in inputs}
        assert sides == {48 if epoch >= 2 else 32}

    assert crops == [[2] * 4, [2] * 4, [1] * 4, [1] * 4]


def test_fewer_samples_than_a_batch_are_an_error(
    tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match='batch_size: 16, but there are only 9 samples'
    ):
        train(
            tiny_config,
            work_dir=tmp_path / 'w',
            cfg_options={'train_dataloader.batch_size': 16},
        )
