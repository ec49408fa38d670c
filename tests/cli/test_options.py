from __future__ import annotations

import argparse

import pytest

from lungdet.cli import add_cfg_options, main


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
