from __future__ import annotations

import runpy
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.command_line import parse_command

ROOT = Path(__file__).parents[2]


def demo_commands(
    out: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> list[list[str]]:
    """What the demo would run, as it writes it down."""
    monkeypatch.setattr('sys.argv', ['demo.py', '--out', str(out), *words])
    monkeypatch.setattr(subprocess.Popen, '__init__', lambda *_, **__: None)
    monkeypatch.setattr(subprocess.Popen, '__del__', lambda _: None)
    monkeypatch.setattr(subprocess.Popen, 'wait', lambda _: 0)
    runpy.run_path(str(ROOT / 'tools' / 'demo.py'), run_name='__main__')
    lines = (out / 'commands.txt').read_text().splitlines()
    return [shlex.split(line) for line in lines]


def test_demo_prepares_pretrains_trains_tests_and_draws(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'with space'

    commands = demo_commands(out, [], monkeypatch)

    programs = [' '.join(command[:2]) for command in commands]
    assert programs == [
        'lungdet phantom',
        'lungdet prepare',
        'python tools/train.py',
        'python tools/train.py',
        'python tools/analysis_tools/browse_dataset.py',
        'python tools/test.py',
        'lungdet report',
        'lungdet infer',
    ]
    _, prepare, pretrain, train, _, test, report, infer = (
        parse_command(command, monkeypatch) for command in commands
    )
    assert prepare.out == out / 'cases'
    assert pretrain.cfg_options['train_cfg.max_epochs'] == 1
    for args in (pretrain, train, test):
        assert args.cfg_options['data_root'] == str(out / 'cases')
    for args in (train, test):
        weights = args.cfg_options['pretrained.weights']
        assert weights == f'{pretrain.work_dir}/backbone.safetensors'
    assert test.checkpoint == [train.work_dir]
    assert infer.model is None
    assert infer.inputs == [str(out / 'phantoms')]
    assert infer.out == out / 'infer'
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.startswith('[')]
    assert [line[:5] for line in headings] == [f'[{k}/8]' for k in range(1, 9)]
    assert max(map(len, headings)) < 100
    assert (report.froc, report.cases) == ([Path(test.out)], prepare.out)
    assert lines[-2:] == [
        f'in {out}: results, pictures, commands.txt',
        f'look at {report.out}',
    ]


def test_table_of_real_scans_is_of_the_three_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'LUNA' / 'xml').mkdir(parents=True)
    words = ['--data', str(tmp_path / 'LUNA'), '--table', '--seeds', '3']

    commands = demo_commands(tmp_path / 'out', words, monkeypatch)

    prepare, ablate = (parse_command(c, monkeypatch) for c in commands)
    assert prepare.root == tmp_path / 'LUNA'
    assert prepare.lidc_xml == tmp_path / 'LUNA' / 'xml'
    assert prepare.out == tmp_path / 'out' / 'cases'
    assert (len(ablate.configs), ablate.seeds, ablate.amp) == (3, 3, True)
