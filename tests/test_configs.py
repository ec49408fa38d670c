"""Every file under configs/ loads, prints, and builds what it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope

from lungdet.apis import load_config
from lungdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(CONFIGS.glob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=[f.stem for f in FILES])
def test_config_builds(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    for plugin in config.model.backbone.get('plugins') or []:
        if MODELS.get(plugin.cfg.type) is None:
            pytest.skip(f'{plugin.cfg.type} is not registered here')

    config.dump(tmp_path / 'copy.py')
    assert Config.fromfile(tmp_path / 'copy.py').to_dict() == config.to_dict()
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(config.model)
        assert OPTIMIZERS.get(config.optim_wrapper.optimizer.type)
        for hook in config.custom_hooks:
            assert HOOKS.get(hook['type']) is not None, hook
    assert sum(p.numel() for p in model.parameters()) > 1000
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name)
        if loader is None:
            continue
        assert DATASETS.get(loader.dataset.type) is not None
        assert loader.dataset.data_root == config.data_root
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)
    for name in ('val_evaluator', 'test_evaluator'):
        if config.get(name) is not None:
            METRICS.build(config[name])


def test_full_configs_have_the_published_size() -> None:
    for name in ('nodulenet_base', 'nodulenet_reference'):
        with DefaultScope.overwrite_default_scope('lungdet'):
            model = MODELS.build(load_config(CONFIGS / f'{name}.py').model)
        assert sum(p.numel() for p in model.parameters()) == 17_343_082


def test_data_root_reaches_every_dataset() -> None:
    config = load_config(CONFIGS / 'nodulenet_base.py', {'data_root': '/x'})

    assert config.train_dataloader.dataset.data_root == '/x'
    assert config.test_dataloader.dataset.data_root == '/x'
