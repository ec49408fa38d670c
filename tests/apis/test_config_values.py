"""Values of a config that are of another type or out of range."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import config_values, load_config, train
from lungdet.apis import test as run_test
from lungdet.errors import ConfigError

# of mmengine's hooks and the model's own tables
TRANSFORM = 'train_dataloader.dataset.pipeline.0'
WRONG = [
    # what was typed, and the key that the message names
    ('optim_wrapper.optimizer.lr', (0, 1), r'optimizer\.lr: .*not a comma'),
    ('optim_wrapper.optimizer.lr', -1, r'optimizer\.lr: -1 cannot be used'),
    ('optim_wrapper.optimizer.lr', '1e-3x', r'optimizer\.lr: .1e-3x'),
    ('optim_wrapper.optimizer.lr', float('nan'), r'optimizer\.lr: nan'),
    ('optim_wrapper.optimizer.lr', None, r'optimizer\.lr: None'),
    ('optim_wrapper.optimizer.weight_decay', -0.1, r'weight_decay: -0\.1'),
    ('optim_wrapper.optimizer.type', 'AdmW', r"optimizer\.type='AdmW'.*AdamW"),
    ('optim_wrapper.optimizer', 'SGD', r"optim_wrapper\.optimizer: 'SGD' is"),
    ('optim_wrapper.optimizer', None, r'wrapper\.optimizer: None is not a'),
    ('optim_wrapper.type', 'OptimWraper', r"type='OptimWraper'.*OptimWrapper"),
    ('optim_wrapper.clip_grad.max_norm', 0, r'clip_grad\.max_norm: 0'),
    ('train_dataloader.batch_size', 0, r'train_dataloader\.batch_size: 0'),
    ('train_dataloader.batch_size', 2.5, r'batch_size: 2\.5 .*whole number'),
    ('train_dataloader.batch_size', True, r'batch_size: True'),
    ('train_dataloader.num_workers', -1, r'num_workers: -1'),
    ('train_dataloader.dataset', 3, r'train_dataloader\.dataset: 3 is no'),
    ('train_dataloader.dataset', None, r'loader\.dataset: None is not a dict'),
    ('train_dataloader.dataset.background_ratio', 'all', 'background_ratio'),
    ('train_dataloader.dataset.test_subsets', 9, r'test_subsets: 9'),
    ('train_dataloader.dataset.test_subsets', (12,), 'from 0 up to 9'),
    ('train_dataloader.dataset.val_subsets', (8, 10), 'from 0 up to 9'),
    ('train_dataloader.dataset.test_subsets', ['9'], r"test_subsets: \['9'\]"),
    ('train_dataloader.dataset.pipeline', 'all', r"pipeline: 'all'"),
    ('train_pipeline', [], r'dataset\.pipeline: is empty'),
    ('test_pipeline', (), r'dataset\.pipeline: is empty'),
    ('train_dataloader.dataset.pipeline', ['Load'], r'pipeline: .*Load'),
    (f'{TRANSFORM}.type', 'PlaceCrp', r"type='PlaceCrp'.*PlaceCrop"),
    (f'{TRANSFORM}.size', (32, 32, 40), r'size: .*multiples of 16'),
    (f'{TRANSFORM}.size', 32, r'size: 32'),
    (f'{TRANSFORM}.margin', -1, r'margin: -1'),
    (
        'train_pipeline',
        [{'type': 'RandomAffine3D', 'scale': (2, 1)}],
        r'pipeline\.0\.scale: .*the lower one first',
    ),
    (
        'train_pipeline',
        [{'type': 'RandomBlur', 'sigma': (0.9, 0.4)}],
        r'pipeline\.0\.sigma: .*the lower one first',
    ),
    ('log_level', 'FOO', "log_level: 'FOO' .*'INFO'"),
    ('default_scope', 'foo', "default_scope: 'foo' .*'lungdet'"),
    (
        '+train_dataloader.batch_sampler',
        {'type': 'LateBatchSampler', 'late_batch_size': 0},
        r'late_batch_size: 0 cannot be used; it must be a whole',
    ),
    (f'+{TRANSFORM}.late_size', (48, 48, 40), r'late_size: .*of 16'),
    ('model', None, 'model: None is not a dict'),
    ('model.data_preprocessor.window', (600, -1200), r'window: .*greater'),
    ('model.data_preprocessor.window', (-1200, 0, 600), r'window: .*2 num'),
    ('model.data_preprocessor.window', '-1200', r"window: '-1200'"),
    ('+model.data_preprocessor.pad_hu', 'air', r"pad_hu: 'air'"),
    ('model.backbone.blocks', [1, 1, 0, 1, 1, 1], r'backbone\.blocks'),
    ('model.backbone.channels', 'wide', r"channels: 'wide'"),
    ('model.backbone.channels', [4, 8], r'channels: \[4, 8\].*be 6 whole'),
    ('model.backbone.blocks', [1, 2], r'blocks: \[1, 2\].*be 6 whole'),
    ('optim_wrapper.optimizer.type', 'AdamV', r'Adam.* Registered: .*SGD'),
    ('model.channels_last', 'yes', r"channels_last: 'yes'.*bool"),
    ('model.test_cfg.window', (96, 96, 90), r'test_cfg\.window: .*of 16'),
    ('model.test_cfg.window', 96, r'test_cfg\.window: 96 .*3 whole numbers'),
    ('model.test_cfg.overlap', 32, r'overlap: 32, but the smallest side'),
    ('model.test_cfg.overlap', -16, r'test_cfg\.overlap: -16'),
    ('+model.test_cfg.flips', 3, r'test_cfg\.flips: 3 .*be 1 or 2 or 8'),
    ('+model.test_cfg.flips', 0, r'test_cfg\.flips: 0 cannot'),
    ('model.test_cfg', [], r'model\.test_cfg: \[\] is not a dict'),
    ('+model.test_cfg.rpn.score_thr', 1.5, r'score_thr: 1\.5'),
    ('model.train_cfg.rcnn.start_epoch', 'late', r"start_epoch: 'late'"),
    ('+model.train_cfg.rpn.assigner.topk', 0, r'topk: 0'),
    ('train_cfg.max_epochs', 0, r'train_cfg\.max_epochs: 0'),
    ('train_cfg.max_epochs', '4', r"train_cfg\.max_epochs: '4'"),
    ('train_cfg.type', 'ExactLoop', r"train_cfg\.type='ExactLoop'"),
    ('train_cfg', None, 'needs train_cfg too'),
    ('val_evaluator', None, 'needs val_evaluator too'),
    (
        'optim_wrapper.optimizer',
        {'_delete_': True, 'type': 'SGD', 'lr': 0.1},
        r'weight_decay: is missing, and .*paramwise_cfg\.norm_decay_mult',
    ),
    ('param_scheduler', 5, 'param_scheduler: 5 is not a dict or list or None'),
    ('param_scheduler', ['LinearLR'], r"param_scheduler\.0: 'LinearLR'"),
    ('param_scheduler.1.milestones', [4, 2], r'milestones: .*greater'),
    ('param_scheduler.0.type', 'LinerLR', r"\.0\.type='LinerLR'.*LinearLR"),
    ('param_scheduler.0.end', -5, r'param_scheduler\.0\.end: -5'),
    ('param_scheduler.0.start_factor', 0, r'start_factor: 0'),
    ('default_hooks.logger.interval', 0, r'logger\.interval: 0'),
    ('default_hooks.checkpoint.interval', 'epoch', r"interval: 'epoch'"),
    ('custom_hooks', 'EMAHook', "custom_hooks: 'EMAHook' is not a list"),
    ('custom_hooks', ['EMAHook'], r"custom_hooks\.0: 'EMAHook'"),
    ('custom_hooks', [{'type': 'EMAHok'}], r"type='EMAHok'.*'EMAHook'"),
    ('custom_hooks', [{'interval': 3}], r"custom_hooks\.0: has no 'type'"),
    ('randomness', None, 'randomness: None is not a dict'),
    ('env_cfg', None, 'env_cfg: None is not a dict'),
    ('log_processor', None, 'log_processor: None is not a dict'),
    ('model.rpn_head.anchor_generator.sizes', (), 'at least one, above 0'),
    ('randomness.seed', -1, r'randomness\.seed: -1'),
    ('randomness.seed', 'x', r"randomness\.seed: 'x'"),
    ('resume', 'yes', "resume: 'yes' is not a bool"),
    ('model.test_cfg.bf16', 5, r'test_cfg\.bf16: 5 .*True or False'),
    ('+model.test_cfg.only_lungs', None, r'only_lungs: None .*True or False'),
    ('env_cfg.cudnn_benchmark', 'no', r"cudnn_benchmark: 'no' .*True or Fal"),
    ('train_dataloader.drop_last', 1, r'drop_last: 1 .*True or False'),
    ('+val_cfg.fp16', 1, r'val_cfg\.fp16: 1 .*ValLoop takes bool'),
    ('+optim_wrapper.optimizer.amsgrad', 2, r'amsgrad: 2 .*AdamW takes bool'),
    ('+train_dataloader.sampler.shuffle', 2, r'sampler\.shuffle: 2 .*bool'),
    ('load_from', 3, 'load_from: 3 is not a str'),
    ('data_root', ['a'], r"data_root: \['a'\] is not a str"),
    ('+val_evaluator.bootstrap', -1, r'bootstrap: -1'),
    (
        'val_evaluator.type',
        ['FROCMetric'],
        r'val_evaluator\.type: .* not the name',
    ),
]


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    WRONG,
    ids=[f'{key}={value!r}' for key, value, _ in WRONG],
)
def test_wrong_value_is_named_by_its_key(
    tiny_config: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tiny_config, {key: value})


NO_VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
NO_TEST = ('test_dataloader', 'test_cfg', 'test_evaluator')


@pytest.mark.parametrize(
    'keys',
    [
        NO_VALIDATION,
        NO_TEST,
        ('custom_hooks',),
        ('default_hooks',),
        ('auto_scale_lr',),
        ('pretrained',),
        ('load_from',),
        ('param_scheduler',),
        ('model.data_preprocessor',),
        ('model.roi_head',),
    ],
    ids=lambda keys: keys[0],
)
def test_what_may_be_left_out_may_be_none(
    tiny_config: Path, keys: tuple[str, ...]
) -> None:
    options = {f'+{key}': None for key in keys}

    assert load_config(tiny_config, options)


def test_nothing_is_trained_by_a_wrong_value(
    tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match='batch_size: 0'):
        train(
            tiny_config,
            work_dir=tmp_path / 'work',
            cfg_options={'train_dataloader.batch_size': 0},
        )

    assert not (tmp_path / 'work').exists()


def test_arguments_of_a_class_of_ones_own_are_its_business(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'my_value_hooks.py').write_text(
        'from mmengine.hooks import Hook\n'
        'from lungdet.registry import HOOKS\n'
        '@HOOKS.register_module(force=True)\n'
        'class MyIntervalHook(Hook):\n'
        '    def __init__(self, interval: str) -> None:\n'
        '        self.interval = interval\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = tiny_config.read_text()
    tiny_config.write_text(
        f'{text}\n'
        "custom_imports = dict(imports=['my_value_hooks'])\n"
        "custom_hooks = [dict(type='MyIntervalHook', interval='daily')]\n"
    )

    config = load_config(tiny_config)

    assert config.custom_hooks[0].interval == 'daily'


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (
            'train_dataloader.sampler',
            {'_delete_': True, 'type': 'DefaultSampler'},
            r'train_dataloader\.sampler: DefaultSampler .*ExactSampler or a',
        ),
        (
            'train_dataloader.sampler',
            None,
            r'train_dataloader\.sampler: None',
        ),
        (
            '+train_dataloader.batch_sampler',
            {'type': 'DefaultSampler'},
            r'batch_sampler: DefaultSampler .*LateBatchSampler or a class',
        ),
        (
            '+train_dataloader.batch_sampler',
            {'type': 'LateBatchSampler', 'late_batch_size': 1},
            r'batch_sampler: .*PlaceCrop has no late_epoch',
        ),
        (
            f'+{TRANSFORM}.late_epoch',
            5,
            r'late_epoch is 5, .*max_epochs is 4',
        ),
        (
            '+pretrained.parts',
            'encoder',
            r'pretrained\.weights: None is not the path of a file',
        ),
        ('+pretrained', {'weights': None}, r'weights: None is not the path'),
        ('+pretrained', {'weights': 5}, r'weights: 5 is not the path'),
        (
            'optim_wrapper.type',
            'AmpOptimWrapper',
            'AmpOptimWrapper trains in float16, .* needs a GPU',
        ),
        (
            '+train_cfg.type',
            'EpochBasedTrainLoop',
            'train_cfg: EpochBasedTrainLoop .*ExactEpochLoop or a class',
        ),
    ],
)
def test_parts_of_a_training_are_checked_before_it(
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: Any,
    message: str,
) -> None:
    monkeypatch.setattr(config_values, 'get_device', lambda: 'cpu')

    with pytest.raises(ConfigError, match=message):
        train(
            tiny_config,
            work_dir=tmp_path / 'work',
            cfg_options={key: value},
        )

    assert not (tmp_path / 'work').exists()


def test_smaller_batches_begin_with_the_larger_crops(
    tiny_config: Path, tmp_path: Path
) -> None:
    batches = {
        'type': 'LateBatchSampler',
        'late_batch_size': 1,
        'late_epoch': 3,
    }
    options = {
        '+train_dataloader.batch_sampler': batches,
        f'+{TRANSFORM}.late_epoch': 2,
    }

    with pytest.raises(ConfigError, match=r'late_epoch: 3, but .* is 2'):
        train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)


def test_a_test_needs_no_training_that_could_be_resumed(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    sampler = {'_delete_': True, 'type': 'DefaultSampler'}

    metrics = run_test(
        tiny_config,
        trained,
        out=tmp_path / 'out',
        cfg_options={'train_dataloader.sampler': sampler},
    )

    assert 'froc/cpm' in metrics


@pytest.mark.parametrize('level', ['WARN', 'FATAL', 'INFO'])
def test_levels_have_the_names_that_python_knows(
    tiny_config: Path, level: str
) -> None:
    assert load_config(tiny_config, {'log_level': level}).log_level == level
    assert isinstance(logging.getLevelName(level), int)
