"""Classes that a config names, and the arguments that it gives them."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from lungdet.errors import ConfigError
from lungdet.registry import (
    BUILD_KEYS,
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
    check_argument_names,
)

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
LIBRARIES = ('lungdet.', 'mmengine.', 'mmcv.', 'torch.')
# keys that a builder reads, such as the runner of hooks or mmcv of norms, and
# does not give to the class
READ_BY_BUILDERS = {
    *BUILD_KEYS,
    *('constructor', 'paramwise_cfg', 'postfix', 'priority', 'requires_grad'),
}


def class_of(value: Mapping[str, Any], key: str) -> Any:
    """The class that a dict names, None if it is not known.

    Args:
        value: The dict.
        key: Its dotted key.

    Raises:
        ConfigError: A class is needed here, and none that is registered is
            named.
    """
    name = value.get('type')
    registry = registry_of(key)
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


def registry_of(key: str) -> LungdetRegistry | None:
    """The registry that has the class of a key, None if any may have it."""
    fitting = (r for pattern, r in CLASSES.items() if _fits(key, pattern))
    return next(fitting, None)


def _fits(key: str, pattern: str) -> bool:
    words, parts = key.split('.'), pattern.split('.')
    return len(words) == len(parts) and all(
        part in ('*', word) or (part == '#' and word.isdigit())
        for word, part in zip(words, parts)
    )


def is_known(kind: Any) -> bool:
    """Whether a class is lungdet's or of a library that it builds on."""
    return kind.__module__.startswith(LIBRARIES)


def check_arguments(value: Mapping[str, Any], kind: Any, key: str) -> None:
    """Compare what a config gives to a class with what the class takes.

    A class of a user's own is not compared.

    Args:
        value: The arguments, and the ``type``.
        kind: The class.
        key: Key of the dict, for the message.

    Raises:
        ConfigError: An argument that the class does not have, or a value of
            another type than annotated.
    """
    if not is_known(kind):
        return
    names = value.keys() - READ_BY_BUILDERS
    check_argument_names(kind, names, f'{key} ({kind.__name__})')
    for name, hint in _types(kind).items():
        is_given = name in value and name != 'init_cfg'
        if is_given and not is_a(value[name], hint):
            text = str(hint) if typing.get_args(hint) else hint.__name__
            text = re.sub(r'collections\.abc\.|typing\.', '', text)
            raise ConfigError(
                f'{key}.{name}: {value[name]!r} cannot be used; '
                f'{kind.__name__} takes {text}.'
            )


def _types(kind: Any) -> dict[str, Any]:
    """Types of a class's arguments; outside lungdet only those of True and
    False, since annotations there are not all that a class takes."""
    hints = _annotations(kind)
    if kind.__module__.startswith('lungdet.'):
        return hints
    return {
        name: hint
        for name, hint in hints.items()
        if hint in (bool, bool | None)
    }


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
