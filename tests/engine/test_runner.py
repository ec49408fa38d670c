"""What LungRunner adds to mmengine's, beside the repairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine import LungRunner
from lungdet.errors import ConfigError, DivergenceError


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


def test_hooks_of_a_config_add_to_the_built_in_ones(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        tiny_config, {'custom_hooks': [{'type': 'SyncBuffersHook'}]}
    )
    config.work_dir = str(tmp_path / 'work')

    names = [type(hook).__name__ for hook in LungRunner.from_cfg(config).hooks]

    assert 'SyncBuffersHook' in names
    for name in (
        'IterSeedHook',
        'HeadScheduleHook',
        'StopOnNaNHook',
        'RunManifestHook',
    ):
        assert names.count(name) == 1


def test_heads_start_and_losses_are_watched_without_any_custom_hook(
    tiny_config: Path, tmp_path: Path
) -> None:
    options = {
        'custom_hooks': [],
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 9,
        'default_hooks.checkpoint.save_best': None,
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    (log,) = (tmp_path / 'w').rglob('scalars.json')
    assert 'loss_rcnn_cls' in log.read_text().splitlines()[-1]
    options['optim_wrapper.optimizer.lr'] = 1e30
    options['optim_wrapper.clip_grad'] = None
    with pytest.raises(DivergenceError):
        train(tiny_config, work_dir=tmp_path / 'x', cfg_options=options)


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


def test_windows_are_compared_with_the_crops_that_the_weights_know(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """Trained at 32^3; windows and crops of the test's config are 48^3."""
    gate = {'type': 'SE3D', 'identity_start': True}
    options = {
        '+model.backbone.plugins': [{'cfg': gate, 'position': 'after_add'}],
        'model.test_cfg.window': (48, 48, 48),
        'train_dataloader.dataset.pipeline.0.size': (48, 48, 48),
    }

    with pytest.warns(UserWarning, match=r'crops were \(32, 32, 32\); SE3D'):
        run_test(
            tiny_config, trained, out=tmp_path / 'out', cfg_options=options
        )
