from __future__ import annotations

import runpy
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.command_line import parse_command

ROOT = Path(__file__).parents[2]


def demo_commands(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> list[list[str]]:
    """What the demo would run, as it prints it."""
    monkeypatch.setattr('sys.argv', ['demo.py', *words])
    monkeypatch.setattr(
        subprocess,
        'run',
        lambda command, **_: subprocess.CompletedProcess(command, 0),
    )
    runpy.run_path(str(ROOT / 'tools' / 'demo.py'), run_name='__main__')
    lines = capsys.readouterr().out.splitlines()
    return [shlex.split(line[2:]) for line in lines if line.startswith('$ ')]


def test_demo_prepares_pretrains_trains_tests_and_draws(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'with space'

    commands = demo_commands(['--out', str(out)], monkeypatch, capsys)

    programs = [' '.join(command[:2]) for command in commands]
    assert programs == [
        'lungdet phantom',
        'lungdet prepare',
        'python tools/train.py',
        'python tools/train.py',
        'python tools/test.py',
        'python tools/analysis_tools/browse_dataset.py',
    ]
    _, prepare, pretrain, train, test, _ = (
        parse_command(command, monkeypatch) for command in commands
    )
    assert prepare.out == out / 'cases'
    assert pretrain.cfg_options['train_cfg.max_epochs'] == 1
    for args in (pretrain, train, test):
        assert args.cfg_options['data_root'] == str(out / 'cases')
    for args in (train, test):
        weights = args.cfg_options['pretrained.weights']
        assert weights == f'{pretrain.work_dir}/backbone.safetensors'
    assert test.checkpoint == f'{train.work_dir}/last_checkpoint'


def test_table_of_real_scans_is_of_the_three_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / 'LUNA' / 'xml').mkdir(parents=True)
    words = ['--data', str(tmp_path / 'LUNA'), '--table', '--seeds', '3']

    commands = demo_commands(words, monkeypatch, capsys)

    prepare, ablate = (parse_command(c, monkeypatch) for c in commands)
    assert prepare.root == tmp_path / 'LUNA'
    assert prepare.lidc_xml == tmp_path / 'LUNA' / 'xml'
    assert prepare.out == ROOT / 'work_dirs' / 'demo_LUNA' / 'cases'
    assert (len(ablate.configs), ablate.seeds, ablate.amp) == (3, 3, True)
