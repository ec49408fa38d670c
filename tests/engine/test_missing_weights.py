"""Weights that are not there yet, and the command that makes them."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from pathlib import Path

import pytest

from lungdet.apis import load_config, train
from lungdet.cli import add_cfg_options
from lungdet.engine.missing_weights import missing_weights
from lungdet.registry import DATASETS
from tests.engine.runs import detector

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_missing_weights_name_the_command(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    config = detector(tiny_config, Path('runs/genesis/backbone.safetensors'))

    with pytest.raises(FileNotFoundError) as caught:
        train(config, work_dir=tmp_path / 'w')

    assert (
        'python tools/train.py genesis.py --resume --work-dir runs/genesis '
        f'--cfg-options data_root={tiny_store}' in str(caught.value)
    )


@pytest.mark.parametrize(
    ('name', 'changes', 'scans'),
    [
        ('luna16_mini_qam_mg', {}, ['1.0', '1.1', '1.2']),
        (
            'luna16_mini_qam_mg',
            {'train_dataloader.dataset.test_subsets': [0]},
            ['1.3', '1.4'],
        ),
        (
            'nodulenet_mg',
            {
                'train_dataloader.dataset.test_subsets': (),
                'train_dataloader.dataset.val_subsets': (9,),
            },
            ['1.0', '1.1', '1.2'],
        ),
    ],
)
def test_command_for_missing_weights_sees_the_same_scans(
    name: str, changes: dict, scans: list[str], tiny_store: Path
) -> None:
    config = load_config(
        CONFIGS / f'{name}.py', {'data_root': str(tiny_store), **changes}
    )
    source = str(CONFIGS.parent / config.pretrained.config)
    start = {'weights': 'my runs/backbone.safetensors', 'config': source}

    message = missing_weights(start, config)

    parser = ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--resume', nargs='?', const='auto')
    parser.add_argument('--work-dir')
    add_cfg_options(parser)
    words = shlex.split(message.partition('Make them: ')[2])
    given = parser.parse_args(words[2:])
    assert (given.config, given.work_dir) == (source, 'my runs')
    assert given.resume == 'auto'  # one that was stopped goes on
    made = load_config(given.config, given.cfg_options)
    for loader in (made.train_dataloader, made.val_dataloader):
        if loader is not None:
            dataset = DATASETS.build(loader.dataset)
            assert set(dataset.metainfo['test_series']).isdisjoint(scans)
    train_set = DATASETS.build(made.train_dataloader.dataset)
    assert train_set.series_uids == scans


def test_missing_weights_without_a_config_say_what_to_give() -> None:
    message = missing_weights({'weights': 'a.safetensors'}, {})

    assert 'a.safetensors: not there' in message
    assert 'pretrained.config' in message


@pytest.mark.parametrize(
    'name', ['nodulenet_mg', 'nodulenet_qam_mg', 'nodulenet_qam_mae']
)
def test_shipped_configs_name_a_config_that_makes_their_weights(
    name: str,
) -> None:
    config = load_config(CONFIGS / f'{name}.py')
    source = load_config(CONFIGS.parent / config.pretrained.config)

    work_dir = Path('work_dirs') / Path(config.pretrained.config).stem
    assert Path(config.pretrained.weights).parent == work_dir
    assert source.model.backbone == config.model.backbone
    assert (
        source.model.data_preprocessor.window
        == config.model.data_preprocessor.window
    )
    base = load_config(CONFIGS / 'nodulenet_base.py')
    for key in ('optim_wrapper', 'param_scheduler', 'train_dataloader'):
        assert config[key] == base[key]
