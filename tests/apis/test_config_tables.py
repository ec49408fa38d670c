"""Keys and types of a config's dicts that no class takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import load_config
from lungdet.errors import ConfigError

FACTORS = 'optim_wrapper.paramwise_cfg'
WRONG = [
    # a line of a config, and what the message has
    (f'{FACTORS}.norm_decay_mul', 0, "'norm_decay_mul'.*mean 'norm_decay_m"),
    (f'{FACTORS}.foo', 2, r"paramwise_cfg: 'foo' is not one of its keys"),
    (FACTORS, 2, r'paramwise_cfg=2 is not a dict'),
    (f'{FACTORS}.bias_lr_mult', 'x', r"bias_lr_mult: 'x' cannot be used"),
    (f'{FACTORS}.custom_keys', 'grn', r"custom_keys: 'grn' is not a dict"),
    (f'{FACTORS}.custom_keys', None, r'custom_keys: None is not a dict'),
    (f'{FACTORS}.custom_keys.foo', 2, r'custom_keys\.foo: 2 is not a dict'),
    (
        f'{FACTORS}.custom_keys.grn.decay_mul',
        0,
        r"custom_keys\.grn: 'decay_mul'.*mean 'decay_mult'",
    ),
    (
        f'{FACTORS}.custom_keys.grn.decay_mult',
        'none',
        r"grn\.decay_mult: 'none' cannot be used",
    ),
    (
        'train_dataloader.collate_fn',
        'pseudo',
        r"train_dataloader\.collate_fn: 'pseudo' is not a dict that names",
    ),
    ('train_dataloader.collate_fn', None, r'collate_fn: None is not a dict'),
    (
        'val_dataloader.collate_fn',
        {'_delete_': True, 'x': 1},
        r'collate_fn: .*is not a dict that names a function by its type',
    ),
    (
        'test_dataloader.worker_init_fn',
        None,
        r'worker_init_fn: None is not a dict that names',
    ),
    ('custom_imports', 'os', r"custom_imports='os' is not a dict"),
    ('custom_imports', None, r'custom_imports: None is not a dict'),
    ('custom_imports.import', 'os', r"'import'.*mean 'imports'"),
    ('custom_imports.imports', 5, r'custom_imports\.imports: 5 is neither'),
    ('custom_imports.imports', ['os', 5], r"imports: \['os', 5\] is neither"),
    (
        'custom_imports',
        {'imports': ['os'], 'allow_failed_imports': 'yes'},
        r"allow_failed_imports: 'yes' .*True or False",
    ),
]


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    WRONG,
    ids=[f'{key}={value!r}' for key, value, _ in WRONG],
)
def test_wrong_key_or_type_in_a_table_is_named(
    tiny_config: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tiny_config, {f'+{key}': value})


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        (FACTORS, None),
        (f'{FACTORS}.flat_decay_mult', 0.5),
        (f'{FACTORS}.bias_lr_mult', None),
        (f'{FACTORS}.bypass_duplicate', True),
        # mmengine hands other keys to the optimiser
        (f'{FACTORS}.custom_keys', {'bn1.weight': {'lr_mult': 2, 'eps': 1}}),
        ('custom_imports.imports', None),
        ('custom_imports.imports', ('os', 'math')),
    ],
)
def test_what_mmengine_takes_may_be_given(
    tiny_config: Path, key: str, value: Any
) -> None:
    config = load_config(tiny_config, {f'+{key}': value})

    for word in key.split('.'):
        config = config[word]
    assert config == value
