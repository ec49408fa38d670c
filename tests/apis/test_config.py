"""Configs, their options, and the values that they hand over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from lungdet.apis import load_config, train
from lungdet.errors import ConfigError
from tests.engine.runs import NO_VALIDATION

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_misspelt_option_gets_the_closest_name(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_epochs'"):
        load_config(tiny_config, {'train_cfg.max_epoch': 3})

    added = load_config(tiny_config, {'+note': 'x', 'train_cfg.max_epochs': 3})

    assert added.note == 'x' and added.train_cfg.max_epochs == 3


def test_top_level_key_that_nothing_reads_is_refused(
    tiny_config: Path,
) -> None:
    text = tiny_config.read_text()
    tiny_config.write_text(text + '\ntrian_cfg = dict(max_epochs=1)\n')
    with pytest.raises(ConfigError, match="'trian_cfg'.*mean 'train_cfg'"):
        load_config(tiny_config)
    tiny_config.write_text(text + '\n_epochs = 1\n')
    assert load_config(tiny_config)['_epochs'] == 1
    tiny_config.write_text(text + '\nmodel = dict(\n')
    with pytest.raises(ConfigError, match=r'tiny\.py: cannot be read'):
        load_config(tiny_config)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (
            'train_dataloader = dict(bacth_size=2)',
            "train_dataloader: .*'bacth_size'.*mean 'batch_size'",
        ),
        (
            'test_dataloader = dict(datset=None)',
            "test_dataloader: .*'datset'.*mean 'dataset'",
        ),
        (
            'optim_wrapper = dict(clip_grad=dict(max_nrm=3))',
            "optim_wrapper.clip_grad: .*'max_nrm'.*mean 'max_norm'",
        ),
        ('randomness = dict(sed=1)', "randomness: .*'sed'.*mean 'seed'"),
        ('env_cfg = dict(cudn=True)', "env_cfg: .*'cudn'.*cudnn_benchmark"),
        (
            'env_cfg = dict(mp_cfg=dict(start_method="fork"))',
            "env_cfg.mp_cfg: .*mean 'mp_start_method'",
        ),
        (
            'default_hooks = dict(chekpoint=dict(type="LungCheckpointHook"))',
            "default_hooks: .*'chekpoint'.*mean 'checkpoint'.*custom_hooks",
        ),
        (
            'train_dataloader = dict(collate_fn=dict(type="psudo_collate"))',
            "train_dataloader.collate_fn.type=.*mean 'pseudo_collate'",
        ),
        (
            'optim_wrapper = dict(clip_grad=5)',
            'optim_wrapper.clip_grad: clip_grad=5 is not a dict',
        ),
    ],
)
def test_misspelt_name_in_a_table_gets_the_closest(
    tiny_config: Path, line: str, message: str
) -> None:
    tiny_config.write_text(f'{tiny_config.read_text()}\n{line}\n')

    with pytest.raises(ConfigError, match=message):
        load_config(tiny_config)


def test_functions_may_be_named_by_their_whole_path(tiny_config: Path) -> None:
    path = 'mmengine.dataset.pseudo_collate'
    line = f'test_dataloader = dict(collate_fn=dict(type="{path}"))'
    tiny_config.write_text(f'{tiny_config.read_text()}\n{line}\n')

    assert load_config(tiny_config).test_dataloader.collate_fn.type == path


def test_a_loaded_config_takes_options_and_is_left_as_it_is(
    tiny_config: Path,
) -> None:
    config = load_config(tiny_config)
    config.test_dataloader.dataset.data_root = '/elsewhere'

    changed = load_config(config, {'train_cfg.max_epochs': 7})

    assert changed.train_cfg.max_epochs == 7
    assert config.train_cfg.max_epochs == 4
    assert changed.test_dataloader.dataset.data_root == '/elsewhere'
    with pytest.raises(ConfigError, match="did you mean 'max_epochs'"):
        train(config, cfg_options={'train_cfg.max_epoch': 7})


def test_held_out_series_are_set_once() -> None:
    config = load_config(CONFIGS / 'luna16_mini.py', {'test_series': ['1.2']})

    for name in ('train_dataloader', 'test_dataloader'):
        assert config[name].dataset.test_series == ['1.2']
        assert config[name].dataset.val_series == []
    free = load_config(CONFIGS / 'nodulenet_base.py')
    assert free.train_dataloader.dataset.test_series is None


def add(config: Path, text: str) -> Path:
    """A config with further lines."""
    config.write_text(f'{config.read_text()}\n{text}\n')
    return config


SHORT = "[dict(type='PlaceCrop', size=(16, 16, 16))]"


def test_pipeline_of_a_child_reaches_its_data_set(
    tiny_config: Path, genesis_config: Path
) -> None:
    add(tiny_config, f'train_pipeline = {SHORT}')
    config = load_config(tiny_config)

    assert config.train_dataloader.dataset.pipeline == [
        {'type': 'PlaceCrop', 'size': (16, 16, 16)}
    ]
    assert tuple(config.model.train_cfg.crop_size) == (16, 16, 16)
    assert config.val_dataloader.dataset.pipeline[0].type == 'LoadCase'
    add(genesis_config, "pipeline = [dict(type='LoadLungCrop')]")
    config = load_config(genesis_config)
    for loader in (config.train_dataloader, config.val_dataloader):
        assert loader.dataset.pipeline == [{'type': 'LoadLungCrop'}]


def test_option_of_a_pipeline_reaches_its_data_set(
    tiny_config: Path, genesis_config: Path
) -> None:
    config = load_config(
        tiny_config,
        {
            'train_pipeline.0.margin': 2,
            'train_dataloader.dataset.pipeline.0.size': (16, 16, 16),
            'test_pipeline': [{'type': 'LoadCase'}],
        },
    )

    crop = config.train_dataloader.dataset.pipeline[0]
    assert (crop.margin, crop.size) == (2, (16, 16, 16))
    assert config.test_dataloader.dataset.pipeline == [{'type': 'LoadCase'}]
    small = (16, 16, 16)
    config = load_config(genesis_config, {'pipeline.0.size': small})
    for loader in (config.train_dataloader, config.val_dataloader):
        assert loader.dataset.pipeline[0].size == small
    # also of a config that is loaded, and a misspelt one is an error
    config = load_config(config, {'pipeline.0.size': (48, 48, 48)})
    assert config.train_dataloader.dataset.pipeline[0].size == (48, 48, 48)
    with pytest.raises(ConfigError, match="no key 'sise'.*mean 'size'"):
        load_config(tiny_config, {'train_pipeline.0.sise': 3})


def test_two_pipelines_of_one_data_set_are_refused(tiny_config: Path) -> None:
    line = f'train_dataloader = dict(dataset=dict(pipeline={SHORT}))'

    with pytest.raises(ConfigError, match='Set train_pipeline alone'):
        load_config(add(tiny_config, line))
    # MMDetection's way to write the same twice
    add(tiny_config, f'train_pipeline = {SHORT}')
    assert load_config(tiny_config).train_dataloader.dataset.pipeline


def test_a_config_that_was_written_is_read_again(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(tiny_config, {'train_pipeline.0.margin': 2})

    config.dump(tmp_path / 'copy.py')

    again = load_config(tmp_path / 'copy.py')
    assert again.to_dict() == config.to_dict()


def test_values_are_handed_over_as_copies(tiny_config: Path) -> None:
    given = {'test_series': ['1.3'], 'val_series': ['1.2']}
    config = load_config(tiny_config, given)

    config.train_dataloader.dataset.test_series.append('1.4')
    config.test_dataloader.dataset.pipeline[0].type = 'Other'

    assert config.test_series == given['test_series'] == ['1.3']
    assert config.test_dataloader.dataset.test_series == ['1.3']
    fresh = load_config(tiny_config)
    assert fresh.test_dataloader.dataset.pipeline[0].type == 'LoadCase'


def test_neither_loading_nor_training_changes_the_config_that_is_given(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        tiny_config,
        {
            'train_cfg.max_epochs': 1,
            **NO_VALIDATION,
        },
    )
    before = Config(config.to_dict()).to_dict()

    load_config(config, {'test_series': ['1.3'], 'train_pipeline.0.margin': 1})
    train(config, work_dir=tmp_path / 'w', amp=True)

    assert config.to_dict() == before


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'+train_pipeline.9.margin': 2},
            r"pipeline\.9\.margin=2: .*pipeline has no item '9'.*it has 5",
        ),
        ({'+train_pipeline.x': 2}, r"pipeline has no item 'x'.*whole list"),
        ({'train_pipeline.0': None}, r'single items of .*pipeline cannot be'),
        ({'train_pipeline.0.size.0': 48}, r'single items of .*\.0\.size cann'),
        ({'+resume.x': 5}, 'resume.x=5: resume is False, which has no keys'),
        ({'+load_from.a': 5}, 'load_from.a=5: load_from is None, which has'),
        ({'+note': 1, '+note.x': 5}, r'--cfg-options note, note\.x: '),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_set_there_is_named(
    tiny_config: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tiny_config, options)


def test_an_option_may_delete_what_was_there(tiny_config: Path) -> None:
    options = {
        '+optim_wrapper.optimizer._delete_': True,
        'optim_wrapper.optimizer.type': 'SGD',
        'optim_wrapper.optimizer.lr': 0.1,
        'optim_wrapper.optimizer.weight_decay': 0,
    }

    optimizer = load_config(tiny_config, options).optim_wrapper.optimizer

    assert optimizer == {'type': 'SGD', 'lr': 0.1, 'weight_decay': 0}
    assert options['+optim_wrapper.optimizer._delete_'] is True


def test_crops_that_are_scaled_need_a_window(genesis_config: Path) -> None:
    options: dict[str, Any] = {'model.data_preprocessor': None}

    with pytest.raises(ConfigError, match='data_preprocessor: has no window'):
        load_config(genesis_config, options)


def test_a_detector_has_a_preprocessor_by_default(tiny_config: Path) -> None:
    options: dict[str, Any] = {'model.data_preprocessor': None}

    config = load_config(tiny_config, options)

    assert config.model.data_preprocessor is None


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        ('dict(batch_size=1)', 'test_dataloader: has no dataset'),
        (
            'dict(dataset=None)',
            r'test_dataloader\.dataset: None is not a dict',
        ),
        ('dict(dataset=5)', r'test_dataloader\.dataset: 5 is not a dict'),
        ('5', 'test_dataloader=5 is not a dict'),
    ],
)
def test_a_loader_without_a_data_set_is_named(
    tiny_config: Path, table: str, message: str
) -> None:
    table = table.replace('dict(', 'dict(_delete_=True, ', 1)

    with pytest.raises(ConfigError, match=message):
        load_config(add(tiny_config, f'test_dataloader = {table}'))


HOOK = """
from mmengine.hooks import Hook
from lungdet.registry import HOOKS
@HOOKS.register_module(force=True)
class {name}(Hook):
    pass
"""


@pytest.mark.parametrize('as_list', [True, False])
def test_options_may_import_modules(
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_list: bool,
) -> None:
    module = f'my_optional_hooks_{as_list}'
    text = HOOK.format(name=f'MyOptionalHook{as_list}')
    (tmp_path / f'{module}.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    key = '+custom_imports.imports' if as_list else '+custom_imports'
    value = [module] if as_list else {'imports': module}

    config = load_config(
        tiny_config,
        {key: value, 'custom_hooks': [{'type': f'MyOptionalHook{as_list}'}]},
    )

    assert config.custom_imports == {
        'imports': [module] if as_list else module
    }


def test_a_module_that_an_option_imports_in_vain_is_named(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'my_broken_module.py').write_text('1 / 0\n')
    monkeypatch.syspath_prepend(tmp_path)
    missing = {'imports': ['no_such_module'], 'allow_failed_imports': True}

    with pytest.raises(ConfigError, match='no_such_module cannot.*PYTHONPATH'):
        load_config(tiny_config, {'+custom_imports.imports': 'no_such_module'})
    with pytest.raises(ConfigError, match='ZeroDivisionError: division by'):
        load_config(
            tiny_config, {'+custom_imports.imports': 'my_broken_module'}
        )
    with pytest.warns(UserWarning, match='no_such_module cannot be imported'):
        load_config(tiny_config, {'+custom_imports': missing})
