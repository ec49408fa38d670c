from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from lungdet.cli import add_cfg_options, main
from lungdet.cli.options import add_ray_option, ray_options
from lungdet.errors import ConfigError
from lungdet.io.ray_cluster import RayOptions


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser


@pytest.mark.parametrize(
    ('word', 'value'),
    [
        ("test_series=['001']", ['001']),
        ('test_series=[\'001\', "1e3"]', ['001', '1e3']),
        ('val_series=001,True', ['001', 'True']),
        ('val_series=(1.20,)', ['1.20']),
        ('train_dataloader.dataset.val_series=[]', []),
        ('test_series=001', '001'),
        ("test_series='001'", '001'),
        ('test_series=None', None),
        ('test_subsets=[01]', [1]),
        ('data_root=/my scans/cases', '/my scans/cases'),
        ('size=(96, 96, 96)', (96, 96, 96)),
    ],
)
def test_names_on_the_command_line_stay_text(
    parser: argparse.ArgumentParser, word: str, value: object
) -> None:
    args = parser.parse_args(['--cfg-options', 'a=1', word])

    assert args.cfg_options == {'a': 1, word.split('=')[0]: value}


def test_option_without_a_value_is_bad_usage(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--cfg-options', 'foo'])

    assert stop.value.code == 2
    assert "--cfg-options: 'foo' is not KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    'words',
    [
        ['phantom', 'x', '--scans', '-3'],
        ['phantom', 'x', '--jobs', '0'],
        ['prepare', 'folder', 'x', 'y', '--jobs', '0'],
        ['prepare', 'luna16', 'x', 'y', '--min-readers', '0'],
        ['prepare', 'luna16', 'x', 'y', '--consensus', 'most'],
        ['froc', 'x.csv', '--max-marks', '-1'],
        ['froc', 'x.csv', '--bootstrap', '-5'],
        ['froc', 'x.csv', '--seed', '-5'],
    ],
)
def test_impossible_numbers_are_refused(
    words: list[str], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(words)

    assert f'argument {words[-2]}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'ray'),
    [
        ([], None),
        (['--ray'], RayOptions(None, 3, 2)),
        (['--ray', '10.0.0.1:6379'], RayOptions('10.0.0.1:6379', 3, 2)),
    ],
)
def test_the_cluster_of_a_command_line(
    words: list[str], ray: RayOptions | None
) -> None:
    parser = argparse.ArgumentParser()
    add_ray_option(parser)

    assert ray_options(parser.parse_args(words), threads=3, workers=2) == ray


def test_a_path_is_no_address(tmp_path: Path) -> None:
    """``lungdet infer --ray scans`` takes the scans for an address."""
    args = argparse.Namespace(ray=str(tmp_path))

    with pytest.raises(ConfigError, match='is a path, .* put --ray last'):
        ray_options(args)
