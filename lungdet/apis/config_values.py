"""Checks of a config's values: types by class, ranges by key.

A wrong value is an error with its key before anything is built, not a
training that runs with something else.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from lungdet.apis.config_numbers import number_of
from lungdet.engine.plain_values import plain
from lungdet.engine.resume import (
    ExactEpochLoop,
    ExactSampler,
    LateBatchSampler,
)
from lungdet.errors import ConfigError
from lungdet.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    LungdetRegistry,
)

TABLES: dict[str, tuple[type, ...]] = {
    'model': (dict,),
    **dict.fromkeys(
        (
            *('train_dataloader', 'val_dataloader', 'test_dataloader'),
            *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper'),
            *('default_hooks', 'env_cfg', 'pretrained', 'auto_scale_lr'),
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
            *('model.backbone', 'model.data_preprocessor'),
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
# which registry the class of a key is in; '*' is any one word, '#' a
# position in a list
CLASSES: dict[str, LungdetRegistry] = {
    'model': MODELS,
    'model.backbone': MODELS,
    'model.data_preprocessor': MODELS,
    'model.rpn_head': MODELS,
    'model.roi_head': MODELS,
    'model.head': MODELS,
    'model.loss': MODELS,
    '*.dataset': DATASETS,
    '*.dataset.datasets.*': DATASETS,
    '*.sampler': DATA_SAMPLERS,
    '*.batch_sampler': DATA_SAMPLERS,
    '*.dataset.pipeline.#': TRANSFORMS,
    '*.dataset.datasets.*.pipeline.#': TRANSFORMS,
    'train_cfg': LOOPS,
    'val_cfg': LOOPS,
    'test_cfg': LOOPS,
    'optim_wrapper': OPTIM_WRAPPERS,
    'optim_wrapper.optimizer': OPTIMIZERS,
    'param_scheduler': PARAM_SCHEDULERS,
    'param_scheduler.#': PARAM_SCHEDULERS,
    'default_hooks.*': HOOKS,
    'custom_hooks.#': HOOKS,
    'val_evaluator': METRICS,
    'test_evaluator': METRICS,
    'val_evaluator.#': METRICS,
    'test_evaluator.#': METRICS,
}
LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
LIBRARIES = ('lungdet.', 'mmengine.', 'mmcv.', 'torch.')
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
        value: Any = config
        for word in key.split('.'):
            value = value.get(word) if isinstance(value, dict) else None
        given = key in config or value is not None
        if given and not isinstance(value, kinds):
            text = ' or '.join(kind.__name__ for kind in kinds)
            text = text.replace('NoneType', 'None')
            raise ConfigError(f'{key}: {value!r} is not a {text}.')
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
    _check_exact(config)
    _check_late_crops(config)
    _check_overlap(config)
    _check_decay(config)


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
        known: Whether its name has the meaning that it has in ``NUMBERS``.
    """
    if key.endswith('init_cfg'):
        return
    if isinstance(value, Mapping):
        kind = _class_of(value, key)
        known = kind is None or kind.__module__.startswith(LIBRARIES)
        _check_types(value, kind, key)
        for name, item in value.items():
            _check(item, f'{key}.{name}', known=known)
    elif (
        isinstance(value, str | int | float) and _registry_of(key) is not None
    ):
        raise ConfigError(
            f'{key}: {value!r} is not a dict that names a class by its type.'
        )
    elif known and (rule := number_of(key)) is not None:
        if not rule.allows(value):
            hint = (
                ' A decimal number has a point, not a comma.'
                if isinstance(value, list | tuple) and rule.length is None
                else ''
            )
            raise ConfigError(
                f'{key}: {value!r} cannot be used; it must be {rule.text()}.'
                f'{hint}'
            )
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check(item, f'{key}.{number}', known=known)


def _class_of(value: Mapping[str, Any], key: str) -> Any:
    """The class that a dict names, None if it is not known."""
    name = value.get('type')
    registry = _registry_of(key)
    if registry is not None:
        if 'type' not in value:
            if key.startswith('default_hooks'):
                return None
            raise ConfigError(
                f"{key}: has no 'type', so it is not known what to build; "
                'name a class.'
            )
        if not isinstance(name, str | type):
            raise ConfigError(
                f'{key}.type: {name!r} is not the name of a class.'
            )
        registry.check_type(dict(value), f'{key}.type')
        return registry.get(name) if isinstance(name, str) else name
    if not isinstance(name, str):
        return name if inspect.isclass(name) else None
    return MODELS.get(name) or TASK_UTILS.get(name)


def _registry_of(key: str) -> LungdetRegistry | None:
    fitting = (r for pattern, r in CLASSES.items() if _fits(key, pattern))
    return next(fitting, None)


def _fits(key: str, pattern: str) -> bool:
    words, parts = key.split('.'), pattern.split('.')
    return len(words) == len(parts) and all(
        part in ('*', word) or (part == '#' and word.isdigit())
        for word, part in zip(words, parts)
    )


def _check_types(value: Mapping[str, Any], kind: Any, key: str) -> None:
    """Compare arguments with the annotations of a class of lungdet's."""
    if kind is None or not kind.__module__.startswith('lungdet.'):
        return
    for name, hint in _annotations(kind).items():
        is_given = name in value and name != 'init_cfg'
        if is_given and not is_a(value[name], hint):
            text = str(hint) if typing.get_args(hint) else hint.__name__
            text = text.replace('collections.abc.', '')
            raise ConfigError(
                f'{key}.{name}: {value[name]!r} cannot be used; '
                f'{kind.__name__} takes {text}.'
            )


def _annotations(kind: Any) -> dict[str, Any]:
    """Types of the arguments of a class, those of its bases too."""
    hints: dict[str, Any] = {}
    steps = kind.__mro__ if inspect.isclass(kind) else [kind]
    for step in reversed(steps):
        function = vars(step).get('__init__')
        if inspect.isfunction(function):
            try:
                hints |= typing.get_type_hints(function)
            except (NameError, TypeError):
                continue
    return {k: v for k, v in hints.items() if k != 'return'}


def is_a(value: Any, hint: Any) -> bool:
    """Whether a value fits an annotation, as far as that can be checked.

    A whole number fits float, a list fits tuple, and True fits no number.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_a(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is None or hint is types.NoneType:
        return value is None
    if hint in (int, float):
        kinds = (int, float) if hint is float else int
        return isinstance(value, kinds) and not isinstance(value, bool)
    kind = origin or hint
    if not inspect.isclass(kind):
        return True
    if kind in (list, tuple, Sequence):
        inner = [a for a in arguments if a is not ...]
        return isinstance(value, list | tuple) and (
            len(inner) != 1 or all(is_a(item, inner[0]) for item in value)
        )
    if kind in (str, bool, dict, Mapping):
        return isinstance(value, kind)
    return True


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
        kind = _class_of(value, key) if isinstance(value, dict) else None
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
    batches = (loader.get('batch_sampler') or {}).get('late_epoch', late)
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
