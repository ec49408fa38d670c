"""Rules for the numbers and switches of a config."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import load_config
from lungdet.apis.config_rules import SWITCH, Choice, Number, rule_of
from lungdet.errors import ConfigError
from lungdet.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    TASK_UTILS,
    TRANSFORMS,
)

CONFIGS = Path(__file__).parents[2] / 'configs'
# where a config names a class of each registry
KEYS = {
    'train_dataloader.dataset': DATASETS,
    'train_dataloader.dataset.pipeline.0': TRANSFORMS,
    'model.part': MODELS,
    'model.train_cfg.rpn.part': TASK_UTILS,
    'test_evaluator': METRICS,
    'custom_hooks.0': HOOKS,
}


@pytest.mark.parametrize(
    ('rule', 'allowed', 'refused', 'words'),
    [
        (Number(), [0, 2.5], [-1, None, '1', True, [1]], 'a number from 0'),
        (
            Number(1, 9, whole=True),
            [1, 9],
            [0, 10, 2.0],
            'a whole number from 1 up to 9',
        ),
        (Number(above=True), [1e-9], [0], 'a number above 0'),
        (Number(none=True), [None, 3], ['none'], 'a number from 0 or None'),
        (
            Number(length=2, rising=True),
            [[0, 1], (2, 3.5)],
            [[1, 1], [1], [1, 2, 3], 1],
            '2 numbers from 0 each greater than the one before',
        ),
        (
            Number(length=2, interval=True),
            [[0, 1], [1, 1]],
            [[2, 1], [1, 2, 3], 1],
            '2 numbers from 0, the lower one first',
        ),
        (
            Number(length=-1, interval=True),
            [3, [1, 2]],
            [[2, 1], [1], [1, 2, 3]],
            'one or two numbers from 0, the lower one first',
        ),
        (
            Number(16, whole=True, length=3, multiple=16),
            [(16, 32, 48)],
            [(16, 32, 40), 16],
            '3 whole numbers that are multiples of 16 from 16',
        ),
        (Number(length=0), [[], [1, 2]], [1], 'a list of numbers from 0'),
        (
            Number(length=0, filled=True),
            [[1]],
            [[], ()],
            'a list of numbers, at least one, from 0',
        ),
        (Choice((1, 2, 8)), [1, 8], [3, True, 2.0, [1]], '1 or 2 or 8'),
        (
            Number(length=-1),
            [1, [1, 2]],
            [[1, -2]],
            'one or several numbers from 0',
        ),
        (Number(), [], [float('nan'), float('inf')], 'a number from 0'),
        (SWITCH, [True, False], [0, 1, None, 'no', [True]], 'True or False'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_rules_allow_and_say_the_same(
    rule: Any, allowed: list, refused: list, words: str
) -> None:
    assert [value for value in allowed if not rule.allows(value)] == []
    assert [value for value in refused if rule.allows(value)] == []
    assert rule.text() == words


def test_the_longest_key_that_fits_gives_the_rule() -> None:
    window = rule_of('model.data_preprocessor.window')
    crop = rule_of('model.test_cfg.window')

    assert window is not None and window.allows((-1200, 600))
    assert crop is not None and not crop.allows((-1200, 600))
    assert rule_of('train_dataloader.dataset.pipeline.3.prob') is not None
    assert rule_of('model.nothing_is_known') is None


def defaults() -> Iterator[tuple[str, str, Any]]:
    """Class, key and default of what a config may set in our classes."""
    for key, registry in KEYS.items():
        registry.import_from_location()  # else only what ran before is there
        for name, kind in registry.module_dict.items():
            if not kind.__module__.startswith('lungdet.'):
                continue
            for argument in inspect.signature(kind).parameters.values():
                value = argument.default
                if isinstance(value, int | float | list | tuple | None):
                    yield name, f'{key}.{argument.name}', value


def test_no_rule_refuses_the_default_of_a_class() -> None:
    refused = []
    for name, key, value in defaults():
        rule = rule_of(key)
        if isinstance(value, bool) or rule is None:
            continue
        if not rule.allows(value):
            refused.append(f'{name}: {key} = {value!r}, not {rule.text()}')

    assert refused == []


def test_no_interval_of_a_transform_is_taken_upside_down() -> None:
    ordered = {'RandomCorrelatedNoise.in_plane'}  # from loud to quiet noise
    taken = [
        f'{name}.{key.rpartition(".")[2]}'
        for name, key, value in defaults()
        if '.pipeline.' in key
        and isinstance(value, tuple)
        and len(value) == 2
        and ((rule := rule_of(key)) is None or rule.allows(value[::-1]))
    ]

    assert set(taken) == ordered


def numbers(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Keys and values of all numbers, and lists of numbers, in a config."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from numbers(item, f'{key}.{name}' if key else name)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(v, int | float) for v in value):
            yield key, value
        for number, item in enumerate(value):
            yield from numbers(item, f'{key}.{number}')
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=str)
def test_every_number_of_our_configs_has_a_rule(path: Path) -> None:
    config = load_config(path).to_dict()
    given = {
        key: value
        for key, value in numbers(config)
        if not key.startswith('_')
        and not key.rpartition('.')[2].isdigit()
        and 'stages' not in key
    }

    assert len(given) > 20
    assert not [key for key in given if rule_of(key) is None]
    for key, value in given.items():
        rule = rule_of(key)
        assert rule is not None and rule.allows(value), key


def switches(value: Any, key: str = '') -> Iterator[str]:
    """Keys of all values that are True or False, outside of lists."""
    if isinstance(value, bool):
        yield key
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from switches(item, f'{key}.{name}' if key else name)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            if isinstance(item, Mapping):
                yield from switches(item, f'{key}.{number}')


def test_every_switch_of_our_configs_is_one() -> None:
    """Each key once, although several configs have it."""
    owners = {}
    for path in sorted(CONFIGS.glob('*.py')):
        config = load_config(path)
        for key in switches(config.to_dict()):
            if not key.startswith(('_', 'plugins')):
                owners.setdefault(re.sub(r'\d+', '#', key), (config, key))

    assert len(owners) > 20
    for config, key in owners.values():
        with pytest.raises(ConfigError, match=f'{re.escape(key)}: 5 '):
            load_config(config, {key: 5})
