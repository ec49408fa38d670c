"""Keys of a config's dicts that neither a class nor mmengine checks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch.utils.data import DataLoader

from lungdet.errors import ConfigError
from lungdet.registry import (
    FUNCTIONS,
    OPTIMIZERS,
    argument_names,
    did_you_mean,
)

DATA_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOADER_KEYS = {
    *inspect.signature(DataLoader).parameters,
    'disable_subprocess_warning',
    'num_batch_per_epoch',
}
# keys of dicts that mmengine does not check
TABLE_KEYS = {
    **dict.fromkeys(DATA_LOADERS, LOADER_KEYS),
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'custom_imports': {'allow_failed_imports', 'imports'},
    'pretrained': {'config', 'parts', 'weights'},
    'randomness': {'deterministic', 'diff_rank_seed', 'seed'},
    'default_hooks': {
        'checkpoint',
        'logger',
        'param_scheduler',
        'runtime_info',
        'sampler_seed',
        'timer',
    },
    'optim_wrapper.clip_grad': {
        'clip_value',
        'error_if_nonfinite',
        'foreach',
        'max_norm',
        'norm_type',
        'type',
    },
    'optim_wrapper.paramwise_cfg': {
        'bias_decay_mult',
        'bias_lr_mult',
        'bypass_duplicate',
        'custom_keys',
        'dcn_offset_lr_mult',
        'dwconv_decay_mult',
        'flat_decay_mult',
        'norm_decay_mult',
    },
}


def check_tables(config: Config) -> None:
    """Check the keys of dicts that mmengine does not check.

    Raises:
        ConfigError: An unknown key, or an unknown function of a data loader,
            with the closest name; or settings of parameters, or modules to
            import, of another type.
    """
    for name, known in TABLE_KEYS.items():
        table: Any = config
        for word in name.split('.'):
            table = (table or {}).get(word)
            if not isinstance(table, dict | None):
                raise ConfigError(
                    f'{name}: {word}={table!r} is not a dict of keys.'
                )
        more = ' More belong in custom_hooks.' if 'hooks' in name else ''
        _check_keys(table or {}, known, name, more)
    _check_functions(config)
    _check_custom_keys(config.get('optim_wrapper') or {})
    _check_imports(config)


def _check_keys(
    table: Mapping[str, Any], known: set[str], where: str, more: str = ''
) -> None:
    for key in table.keys() - known:
        raise ConfigError(
            f'{where}: {key!r} is not one of its keys'
            f'{did_you_mean(key, known)}. They are '
            f'{", ".join(sorted(known))}.{more}'
        )


def _check_functions(config: Config) -> None:
    for loader in DATA_LOADERS:
        for key in ('collate_fn', 'worker_init_fn'):
            table, where = config.get(loader) or {}, f'{loader}.{key}'
            function = table.get(key)
            if key not in table or key == 'collate_fn' and callable(function):
                continue
            if not isinstance(function, dict) or 'type' not in function:
                raise ConfigError(
                    f'{where}: {function!r} is not a dict that names a '
                    "function by its type, such as dict(type='...'). Leave "
                    f'{key} out to use the default.'
                )
            # a full path, 'package.module.name', is imported
            if '.' not in str(function['type']):
                FUNCTIONS.check_type(function, f'{where}.type')
                FUNCTIONS.check_arguments(function)


def _check_custom_keys(wrapper: Mapping[str, Any]) -> None:
    """Check the settings of parameters with some text in their names."""
    factors = wrapper.get('paramwise_cfg') or {}
    where = 'optim_wrapper.paramwise_cfg.custom_keys'
    settings = factors.get('custom_keys', {})
    if not isinstance(settings, dict):
        raise ConfigError(f'{where}: {settings!r} is not a dict.')
    optimizer = wrapper.get('optimizer')
    kind = optimizer.get('type') if isinstance(optimizer, dict) else None
    kind = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
    names = argument_names(kind) if inspect.isclass(kind) else []
    for name, values in settings.items():
        if not isinstance(values, dict):
            raise ConfigError(
                f'{where}.{name}: {values!r} is not a dict, such as '
                'dict(lr_mult=0.1, decay_mult=0).'
            )
        if names is not None:
            known = {'lr_mult', 'decay_mult', *names} - {'params'}
            _check_keys(values, known, f'{where}.{name}')


def _check_imports(config: Config) -> None:
    table = config.get('custom_imports', {})
    if not isinstance(table, dict):
        raise ConfigError(
            f'custom_imports: {table!r} is not a dict, such as '
            "dict(imports=['my_module']); leave it out to import nothing."
        )
    if not all(isinstance(name, str) for name in imported_names(table)):
        raise ConfigError(
            f'custom_imports.imports: {table["imports"]!r} is neither the '
            'name of a module nor a list of names.'
        )


def imported_names(table: Mapping[str, Any]) -> list[Any]:
    """Names of modules in ``custom_imports``.

    Args:
        table: Its ``imports`` may be one name, several, or None.
    """
    names = table.get('imports') or []
    return [*names] if isinstance(names, list | tuple) else [names]
