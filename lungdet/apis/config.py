"""Reading, completing and checking a config."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from lungdet.apis.config_tables import (
    DATA_LOADERS,
    check_tables,
    imported_names,
)
from lungdet.apis.config_values import check_values
from lungdet.errors import ConfigError
from lungdet.io.numbers import count_of
from lungdet.registry import did_you_mean

HANDED_OVER = ('data_root', 'test_series', 'val_series')
# pipelines of one data loader, or of all; the first one is used
PIPELINES = {
    'train_pipeline': DATA_LOADERS[:1],
    'val_pipeline': DATA_LOADERS[1:2],
    'test_pipeline': DATA_LOADERS[2:],
    'pipeline': DATA_LOADERS,
}
# top-level keys that a config may have besides the Runner's arguments
TOP_KEYS = (
    *HANDED_OVER,
    *PIPELINES,
    'allow_seen_test',
    'auto_scale_lr',
    'custom_imports',
    'plugins',
    'pretrained',
    'resume_with_new_schedule',
    'sync_bn',
    'verbose',
)


def load_config(
    config: str | Path | Config, cfg_options: dict[str, Any] | None = None
) -> Config:
    """Read a config and change some of its values.

    Some values are set once in a config and copied to where they are used:
    ``data_root``, ``test_series`` and ``val_series`` to every data set;
    ``train_pipeline``, ``val_pipeline`` and ``test_pipeline`` to the data set
    of that loader, ``pipeline`` to all, also from options with these names;
    the model's HU window to data sets that scale crops; the size of the
    training crops to the model, which warns about windows that differ; and the
    epoch from which crops are larger to a ``LateBatchSampler``.

    Args:
        config: Path of a config, or a loaded one, which is not changed. Values
            set in its data sets after loading are kept.
        cfg_options: Values by dotted key.

    Returns:
        A new config; its pipelines are in the data sets only.

    Raises:
        FileNotFoundError: No such file.
        ConfigError: A file that cannot be read as a config; a top-level key
            that nothing uses, unless it starts with ``_``; a pipeline that
            differs from the data set's; an unknown key in one of
            ``TABLE_KEYS``, or an unknown function of a data loader; an option
            whose key the config does not have, unless it starts with ``+``,
            which adds it, or that cannot be set there; a module to import that
            does not exist; a value that ``check_values`` refuses; or weights
            in an ``init_cfg``.
    """
    given = config if isinstance(config, Config) else _read(Path(config))
    cfg = _with_pipelines(given)
    options = _plain_options(cfg, cfg_options or {})
    _merge(cfg, options)
    check_tables(cfg)
    # mmengine imports when it reads the file, before the options
    if any(key.split('.')[0] == 'custom_imports' for key in options):
        _import_modules(cfg.custom_imports)
    check_no_weights(cfg.get('model'), 'model')
    check_values(cfg)
    handed = options if given is config else HANDED_OVER
    cfg = _with_values(cfg, [key for key in HANDED_OVER if key in handed])
    return _with_crops(cfg)


def _read(path: Path) -> Config:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such config; check the path.')
    try:
        config = Config.fromfile(str(path))
    except Exception as error:
        raise ConfigError(
            f'{path}: cannot be read as a config '
            f'({type(error).__name__}: {error}).'
        ) from error
    known = {*inspect.signature(Runner.__init__).parameters, *TOP_KEYS}
    for key in config.keys() - known:
        if not key.startswith('_'):
            raise ConfigError(
                f'{path}: nothing reads the key {key!r}'
                f'{did_you_mean(key, known)}. Begin the name of a value that '
                'the config alone uses with "_".'
            )
    return config


def _with_pipelines(config: Config) -> Config:
    """A copy whose pipelines are in the data sets, not at the top level."""
    config = copy.deepcopy(config)
    given = {name: config.pop(name, None) for name in PIPELINES}
    for loader in DATA_LOADERS:
        names = [
            name
            for name, loaders in PIPELINES.items()
            if loader in loaders and given[name] is not None
        ]
        table = config.get(loader)
        dataset = table.get('dataset') if isinstance(table, dict) else None
        if not names or not isinstance(dataset, dict):
            continue
        name = names[0]
        if dataset.get('pipeline', given[name]) != given[name]:
            raise ConfigError(
                f'{config.filename}: {name} and {loader}.dataset.pipeline '
                'differ, so one of them would do nothing. Set '
                f'{name} alone; it reaches the data set.'
            )
        dataset['pipeline'] = copy.deepcopy(given[name])
    return config


def _plain_options(
    config: Config, cfg_options: dict[str, Any]
) -> dict[str, Any]:
    """Options by full key, each one checked against the config."""
    options = {}
    for option, value in cfg_options.items():
        for key in _whole_keys(config, option.removeprefix('+')):
            if not option.startswith('+'):
                _check_key(config, key)
            options[key] = copy.deepcopy(value)
    return options


def _whole_keys(config: Config, key: str) -> list[str]:
    """Full keys of options such as ``pipeline.0``."""
    head, *rest = key.split('.')
    if head not in PIPELINES:
        return [key]
    return [
        '.'.join([loader, 'dataset', 'pipeline', *rest])
        for loader in PIPELINES[head]
        if config.get(loader) or len(PIPELINES[head]) == 1
    ]


def _check_key(config: Config, key: str) -> None:
    value: Any = config
    for depth, word in enumerate(key.split('.')):
        if isinstance(value, list | tuple):
            number = count_of(word)
            if number is not None and number < len(value):
                value = value[number]
                continue
            known = [str(k) for k in range(len(value))]
        elif isinstance(value, Config | dict):
            if word in value.keys():
                value = value[word]
                continue
            known = [str(k) for k in value.keys()]
        else:
            known = []
        where = '.'.join(key.split('.')[:depth]) or 'the config'
        raise ConfigError(
            f'--cfg-options {key}: {where} has no key {word!r}'
            f'{did_you_mean(word, known)}. Put a "+" in front to add it.'
        )


def _merge(config: Config, options: dict[str, Any]) -> None:
    """Set options in a config; one that cannot be set is named."""
    try:
        config.merge_from_dict(options)
    except (AttributeError, KeyError, TypeError) as error:
        reasons = [
            f'{key}={value!r}: {reason}'
            for key, value in options.items()
            if (reason := _obstacle(config, key, value))
        ]
        text = reasons[0] if reasons else f'{", ".join(options)}: {error}.'
        raise ConfigError(f'--cfg-options {text}') from error


def _obstacle(config: Config, key: str, value: Any) -> str | None:
    """Why mmengine cannot set an option, None if the reason is not known."""
    words = key.split('.')
    node: Any = config
    for depth, word in enumerate(words):
        where = '.'.join(words[:depth])
        if isinstance(node, list | tuple):
            number = count_of(word)
            last = depth == len(words) - 1
            if number is None or number >= len(node):
                return (
                    f'{where} has no item {word!r}, since it has {len(node)}, '
                    'counted from 0. Give the whole list to add one.'
                )
            if isinstance(node, tuple) or last and not isinstance(value, dict):
                return (
                    f'single items of {where} cannot be set, only keys of its '
                    'dicts. Give the whole list.'
                )
            node = node[number]
        elif not isinstance(node, Config | dict):
            return f'{where} is {node!r}, which has no keys.'
        elif word in node.keys():
            node = node[word]
        else:
            return None
    return None


def _import_modules(table: Mapping[str, Any]) -> None:
    """Import what ``custom_imports`` names."""
    for name in imported_names(table):
        try:
            import_module(name)
        except Exception as error:  # any error in the code of the module
            text = (
                f'custom_imports: {name} cannot be imported '
                f'({type(error).__name__}: {error}).'
            )
            if not (
                isinstance(error, ImportError)
                and table.get('allow_failed_imports')
            ):
                raise ConfigError(
                    f'{text} Check its name, and put its folder on PYTHONPATH.'
                ) from error
            warnings.warn(text, stacklevel=3)


def _with_values(config: Config, keys: list[str]) -> Config:
    """A copy with top-level values in every data set."""
    config = copy.deepcopy(config)
    for loader in DATA_LOADERS:
        if not config.get(loader):
            continue
        dataset = config[loader].dataset
        for key in keys:
            if config.get(key) is not None:
                dataset[key] = copy.deepcopy(config[key])
        if 'window' in dataset:
            dataset.window = _model_window(config, loader)
    return config


def _model_window(config: Config, loader: str) -> Any:
    preprocessor = config.model.get('data_preprocessor') or {}
    if 'window' not in preprocessor:
        raise ConfigError(
            'model.data_preprocessor: has no window, and '
            f'{loader}.dataset scales its crops by it. Give it, such as '
            "dict(type='RestorationPreprocessor', window=(-1200, 600))."
        )
    return preprocessor['window']


def _with_crops(config: Config) -> Config:
    """A copy whose batches and model know the training crops, if they use
    that.

    Batches get the epoch from which crops are larger. The model gets the
    crops' size in the last epochs, and which nodules they cut: validation
    follows the same rule.
    """
    config = copy.deepcopy(config)
    if not config.get('train_dataloader'):
        return config
    loader, model = config.train_dataloader, config.model
    train_cfg = {**(model.get('train_cfg') or {})}
    test_cfg = {**(model.get('test_cfg') or {})}
    for transform in loader.dataset.get('pipeline') or ():
        late_epoch = transform.get('late_epoch')
        if loader.get('batch_sampler') and late_epoch is not None:
            loader.batch_sampler.setdefault('late_epoch', late_epoch)
        if transform['type'] == 'PlaceCrop':
            if train_cfg.get('crop_size') is None:
                last = transform.get('late_size') or transform['size']
                train_cfg['crop_size'] = last
        elif 'min_inside' in transform:
            test_cfg.setdefault('min_inside', transform['min_inside'])
    if 'train_cfg' in model:
        model.train_cfg = ConfigDict(train_cfg)
        if 'test_cfg' in model:
            model.test_cfg = ConfigDict(test_cfg)
    return config


def check_no_weights(model: Any, where: str) -> None:
    """Refuse weights that would be loaded without being checked.

    Args:
        model: A model's config, or a value in it.
        where: Its key, for the message.

    Raises:
        ConfigError: An ``init_cfg`` in it loads weights.
    """
    if isinstance(model, dict):
        if where.endswith('init_cfg') and model.get('type') == 'Pretrained':
            raise ConfigError(
                f'{where}: weights loaded here are not compared with window, '
                'spacing, plugins and test scans. Start a backbone from '
                'pre-training by pretrained=dict(weights=..., config=...), a '
                'detector from a checkpoint by load_from.'
            )
        for key, value in model.items():
            check_no_weights(value, f'{where}.{key}')
    elif isinstance(model, list | tuple):
        for value in model:
            check_no_weights(value, where)
