"""Arguments that a config gives to classes: their names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from lungdet.apis import load_config
from lungdet.apis.config_classes import is_a
from lungdet.errors import ConfigError

TRANSFORM = 'train_dataloader.dataset.pipeline.0'


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('model.backbone.chanels', r"backbone \(FeatureNet\): .*'channels'"),
        ('model.rpn_head.loss_cls.wait', r"loss_cls \(\w+\): .*'wait'"),
        (f'{TRANSFORM}.sise', r"0 \(PlaceCrop\): .*mean 'size'"),
        ('optim_wrapper.optimizer.lrr', r"optimizer \(AdamW\): .*mean 'lr'"),
        ('optim_wrapper.clipgrad', r"optim_wrapper \(.*mean 'clip_grad'"),
        ('param_scheduler.0.ends', r'param_scheduler\.0 \(LinearLR\): .*end'),
        ('train_dataloader.dataset.slit', r"dataset \(LUNA16.*mean 'split'"),
        ('test_evaluator.botstrap', r"\(FROCMetric\): .*mean 'bootstrap'"),
        ('default_hooks.logger.intervall', r"logger \(.*mean 'interval'"),
        ('train_cfg.max_epoch', r"\(ExactEpochLoop\): .*mean 'max_epochs'"),
    ],
)
def test_an_argument_that_a_class_lacks_is_named_before_it_is_built(
    tiny_config: Path, key: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=f'{message}.*It takes: '):
        load_config(tiny_config, {f'+{key}': 3})


def test_what_builders_read_is_no_argument(tiny_config: Path) -> None:
    plugin = {
        'cfg': {'type': 'SE3D', 'ratio': 2, 'postfix': '_1'},
        'position': 'after_conv2',
    }
    norm = {'type': 'IN3d', 'affine': True, 'requires_grad': False}
    options = {
        '+model.backbone.plugins': [plugin],
        '+model.backbone.norm_cfg': norm,
        '+custom_hooks': [{'type': 'SyncBuffersHook', 'priority': 'LOW'}],
        '+optim_wrapper.constructor': 'DefaultOptimWrapperConstructor',
    }

    assert load_config(tiny_config, options)
    with pytest.raises(ConfigError, match=r'cfg \(SE3D\): .*ratio'):
        plugin['cfg']['rato'] = plugin['cfg'].pop('ratio')
        load_config(tiny_config, options)


@pytest.mark.parametrize(
    ('value', 'hint', 'expected'),
    [
        (1, int, True),
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (None, int | None, True),
        ((1, 2), Sequence[int], True),
        ([1, 'a'], Sequence[int], False),
        ('ab', Sequence[str], False),
        ([1], tuple[int, ...], True),
        ({'a': 1}, dict[str, Any], True),
        ({'a': 1}, Mapping, True),
        ('x', Literal['x', 'y'], True),
        ('z', Literal['x', 'y'], False),
        (object(), Any, True),
        (object(), Path, True),
    ],
)
def test_annotations(value: Any, hint: Any, expected: bool) -> None:
    assert is_a(value, hint) is expected
