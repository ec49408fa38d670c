"""Checks of a config's values: types by class, ranges by key.

A wrong value is an error with its key before anything is built, not a
training that runs with something else.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper

from lungdet.apis.config_classes import (
    check_arguments,
    class_of,
    is_known,
    registry_of,
)
from lungdet.apis.config_rules import Number, rule_of
from lungdet.apis.config_tables import DATA_LOADERS
from lungdet.engine.plain_values import plain
from lungdet.engine.resume import (
    ExactEpochLoop,
    ExactSampler,
    LateBatchSampler,
)
from lungdet.errors import ConfigError
from lungdet.registry import TRANSFORMS

TABLES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ('model', 'env_cfg', 'log_processor', 'randomness'), (dict,)
    ),
    **dict.fromkeys(
        (
            *('train_dataloader', 'val_dataloader', 'test_dataloader'),
            *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper'),
            *('default_hooks', 'pretrained', 'auto_scale_lr'),
            *('model.backbone', 'model.data_preprocessor'),
        ),
        (dict, types.NoneType),
    ),
    **dict.fromkeys(
        ('val_evaluator', 'test_evaluator', 'param_scheduler'),
        (dict, list, types.NoneType),
    ),
    'custom_hooks': (list, tuple, types.NoneType),
    **dict.fromkeys(
        ('resume', 'allow_seen_test', 'verbose', 'resume_with_new_schedule'),
        (bool,),
    ),
    **dict.fromkeys(
        ('load_from', 'work_dir', 'data_root'), (str, types.NoneType)
    ),
    **dict.fromkeys(
        (
            *('train_dataloader.dataset', 'val_dataloader.dataset'),
            *('test_dataloader.dataset', 'optim_wrapper.optimizer'),
        ),
        (dict,),
    ),
    **dict.fromkeys(
        (
            *('model.rpn_head', 'model.roi_head', 'model.head'),
            *('model.train_cfg', 'model.test_cfg', 'model.loss'),
        ),
        (dict, types.NoneType),
    ),
}
# as Python names them; WARN and FATAL are second names
LOG_LEVELS = (
    *('DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR', 'CRITICAL', 'FATAL'),
)
# of a key that a config does not have, or whose parent is None
ABSENT = object()
# keys that a config must give together, or not at all
TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def check_values(config: Mapping[str, Any] | Config) -> None:
    """Check every value of a config.

    Raises:
        ConfigError: A value of another type or out of range, a class that is
            not registered, or a part that needs another one; with the key.
    """
    if isinstance(config, Config):
        config = config.to_dict()
    for key, kinds in TABLES.items():
        value = _value_at(config, key)
        if value is not ABSENT and not isinstance(value, kinds):
            text = ' or '.join(kind.__name__ for kind in kinds)
            text = text.replace('NoneType', 'None')
            raise ConfigError(f'{key}: {value!r} is not a {text}.')
    _check_needed(config)
    _check_choice(config, 'log_level', LOG_LEVELS)
    _check_choice(config, 'default_scope', ('lungdet',))
    for names in TOGETHER:
        present = [name for name in names if config.get(name) is not None]
        if present and len(present) < len(names):
            absent = sorted(set(names) - set(present))
            raise ConfigError(
                f'{", ".join(present)}: needs {" and ".join(absent)} too; '
                'give all of them, or set all to None.'
            )
    for key, value in config.items():
        # names with "_" are private to the config
        if not key.startswith('_') and key != 'plugins':
            _check(value, key, known=True)
    _check_overlap(config)
    _check_decay(config)


def _value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, or ``ABSENT``."""
    value: Any = config
    for word in key.split('.'):
        if not isinstance(value, Mapping) or word not in value:
            return ABSENT
        value = value[word]
    return value


def _check_needed(config: Mapping[str, Any]) -> None:
    """Refuse a loader without data."""
    for loader in DATA_LOADERS:
        if config.get(loader) is not None and 'dataset' not in config[loader]:
            raise ConfigError(
                f'{loader}: has no dataset. Give it, or set {loader} to None.'
            )


def _check_choice(
    config: Mapping[str, Any], key: str, choices: Sequence[str]
) -> None:
    if key in config and config[key] not in choices:
        raise ConfigError(
            f'{key}: {config[key]!r} cannot be used; it must be '
            f'{" or ".join(map(repr, choices))}.'
        )


def _check(value: Any, key: str, *, known: bool) -> None:
    """Check a value and everything in it.

    Args:
        value: Value of the config.
        key: Its dotted key.
        known: Whether its name has the meaning that it has in ``RULES``.
    """
    if key.endswith('init_cfg'):
        return
    if isinstance(value, Mapping):
        kind = class_of(value, key)
        if kind is not None:
            check_arguments(value, kind, key)
        known = kind is None or is_known(kind)
        for name, item in value.items():
            _check(item, f'{key}.{name}', known=known)
    elif isinstance(value, str | int | float) and registry_of(key) is not None:
        raise ConfigError(
            f'{key}: {value!r} is not a dict that names a class by its type.'
        )
    elif known and (rule := rule_of(key)) is not None:
        if not rule.allows(value):
            hint = (
                ' A decimal number has a point, not a comma.'
                if isinstance(value, list | tuple)
                and isinstance(rule, Number)
                and rule.length is None
                else ''
            )
            raise ConfigError(
                f'{key}: {value!r} cannot be used; it must be {rule.text()}.'
                f'{hint}'
            )
    elif isinstance(value, list | tuple):
        if not value and registry_of(f'{key}.0') is TRANSFORMS:
            raise ConfigError(
                f'{key}: is empty, so its crops or scans would not be read. '
                'Give the steps that load and pack them.'
            )
        for number, item in enumerate(value):
            _check(item, f'{key}.{number}', known=known)


def check_training_parts(config: Config) -> None:
    """Refuse parts of a training that a test does not use.

    Args:
        config: Loaded.

    Raises:
        ConfigError: A sampler or loop that could not continue a training
            exactly: one that is neither lungdet's nor derived from it. Crops
            that never become larger, or differ within a batch. Float16
            without a GPU. Or a start from pre-training without its weights.
    """
    values = config.to_dict()
    _check_float16(values)
    _check_pretrained(values)
    _check_exact(values)
    _check_late_crops(values)


def _check_float16(config: Mapping[str, Any]) -> None:
    """Refuse the wrapper of float16, which needs a GPU, without one."""
    wrapper = config.get('optim_wrapper')
    kind = None if wrapper is None else class_of(wrapper, 'optim_wrapper')
    if (
        inspect.isclass(kind)
        and issubclass(kind, AmpOptimWrapper)
        and get_device() in ('cpu', 'mps')
    ):
        raise ConfigError(
            f'optim_wrapper.type: {kind.__name__} trains in float16, which '
            'needs a GPU, and torch sees none. Take BF16OptimWrapper, as '
            '--amp does.'
        )


def _check_pretrained(config: Mapping[str, Any]) -> None:
    """Refuse a start from pre-training that names no weights."""
    pretrained = config.get('pretrained')
    if not pretrained or config.get('load_from'):
        return
    weights = pretrained.get('weights')
    if not isinstance(weights, str | Path):
        raise ConfigError(
            f'pretrained.weights: {weights!r} is not the path of a file. Give '
            'the backbone.safetensors of a pre-training, or set pretrained '
            'to None.'
        )


def _check_exact(config: Mapping[str, Any]) -> None:
    """Refuse parts of a training that could not be continued exactly."""
    loader = config.get('train_dataloader')
    if loader is None:
        return
    parts: dict[str, tuple[Any, type]] = {
        'train_dataloader.sampler': (loader.get('sampler'), ExactSampler),
        'train_cfg': (config['train_cfg'], ExactEpochLoop),
    }
    if (batches := loader.get('batch_sampler')) is not None:
        parts['train_dataloader.batch_sampler'] = batches, LateBatchSampler
    for key, (value, base) in parts.items():
        kind = class_of(value, key) if isinstance(value, dict) else None
        if not (inspect.isclass(kind) and issubclass(kind, base)):
            name = value if kind is None else kind.__name__
            raise ConfigError(
                f'{key}: {name} cannot continue in the middle of an epoch, so '
                'a resumed training would end with other weights. Name '
                f'{base.__name__} or a class derived from it as its type.'
            )


def _check_late_crops(config: Mapping[str, Any]) -> None:
    """Refuse crops that never become larger, or differ within a batch."""
    loader = config.get('train_dataloader')
    if loader is None:
        return
    data = loader['dataset']
    crops = [
        plain(transform)
        for part in (data, *(data.get('datasets') or ()))
        if isinstance(part, Mapping)
        for transform in part.get('pipeline') or ()
        if transform['type'] == 'PlaceCrop'
    ]
    for key in ('size', 'late_size', 'late_epoch'):
        values = [crop.get(key) for crop in crops]
        for value in values:
            if value != values[0]:
                raise ConfigError(
                    f'train_dataloader.dataset: PlaceCrop.{key} is '
                    f'{values[0]} in one pipeline and {value} in another, and '
                    'a batch needs crops of one size. Give both the same.'
                )
    late = crops[0].get('late_epoch') if crops else None
    epochs = config['train_cfg'].get('max_epochs')
    if late is not None and epochs is not None and late > epochs:
        raise ConfigError(
            f'train_pipeline: PlaceCrop.late_epoch is {late}, but '
            f'train_cfg.max_epochs is {epochs}, so no crop would ever have '
            'late_size. Lower late_epoch, or set both to None.'
        )
    sampler = loader.get('batch_sampler')
    if sampler and late is None:
        raise ConfigError(
            'train_dataloader.batch_sampler: makes batches smaller where '
            'crops become larger, but PlaceCrop has no late_epoch. Give it '
            'late_size and late_epoch, or leave batch_sampler out.'
        )
    batches = (sampler or {}).get('late_epoch', late)
    if batches != late:
        raise ConfigError(
            f'train_dataloader.batch_sampler.late_epoch: {batches}, but '
            f'PlaceCrop.late_epoch is {late}. Leave the former out; it is '
            'taken from the latter.'
        )


def _check_overlap(config: Mapping[str, Any]) -> None:
    test = (config.get('model') or {}).get('test_cfg') or {}
    window, overlap = test.get('window'), test.get('overlap')
    if window is not None and overlap is not None and overlap >= min(window):
        raise ConfigError(
            f'model.test_cfg.overlap: {overlap}, but the smallest side of '
            f'model.test_cfg.window is {min(window)}, so the next window '
            'would not be further on. Take a smaller overlap.'
        )


def _check_decay(config: Mapping[str, Any]) -> None:
    """Refuse factors of a weight decay that is not set."""
    wrapper = config.get('optim_wrapper') or {}
    factors = wrapper.get('paramwise_cfg') or {}
    scaled = [key for key in factors if key.endswith('decay_mult')]
    scaled += [
        f'custom_keys.{key}'
        for key, values in (factors.get('custom_keys') or {}).items()
        if 'decay_mult' in values
    ]
    optimizer = wrapper.get('optimizer') or {}
    if scaled and optimizer.get('weight_decay') is None:
        raise ConfigError(
            'optim_wrapper.optimizer.weight_decay: is missing, and '
            f'optim_wrapper.paramwise_cfg.{scaled[0]} is a factor of it. '
            'Give it (0 for none), or set paramwise_cfg to None.'
        )
