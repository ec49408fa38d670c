from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lungdet.cli import add_cfg_options, build_parser, clean_errors, main
from lungdet.evaluation import READ_OUTS
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume
from lungdet.prepare import Summary

ROOT = Path(__file__).parents[1]


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code = main(['prepare', 'folder', str(tmp_path), str(tmp_path / 'out')])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert 'no scan found' in error


def test_froc_offers_every_read_out(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['froc', '--help'])

    assert '{' + ','.join(READ_OUTS) + '}' in capsys.readouterr().out
    for wrong in (['--max-marks', '-1'], ['--bootstrap', '-5']):
        with pytest.raises(SystemExit) as stop:
            main(['froc', 'x.csv', *wrong])
        assert stop.value.code == 2


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['luna16', '{empty}', '{out}'], 'no annotations.csv there'),
        (['luna16', '{empty}/none', '{out}'], 'no annotations.csv there'),
        (['folder', '{empty}/none', '{out}'], 'no such folder'),
        (['folder', '{scans}', '{file}'], 'cannot be written to'),
    ],
)
def test_places_that_cannot_be_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    places = {name: tmp_path / name for name in ('empty', 'scans', 'file')}
    places['empty'].mkdir()
    places['scans'].mkdir()
    (places['scans'] / 'a.mhd').touch()
    places['file'].touch()
    filled = [w.format(**places, out=tmp_path / 'out') for w in words]

    assert main(['prepare', *filled]) == 2

    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert reason in error


@pytest.mark.parametrize(
    'words',
    [
        ['phantom', 'x', '--scans', '-3'],
        ['phantom', 'x', '--jobs', '0'],
        ['prepare', 'folder', 'x', 'y', '--jobs', '0'],
        ['prepare', 'luna16', 'x', 'y', '--min-readers', '0'],
        ['prepare', 'luna16', 'x', 'y', '--consensus', 'most'],
    ],
)
def test_numbers_that_cannot_be_are_refused(
    words: list[str], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(words)

    assert f'argument {words[-2]}' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['luna16', 'folder'])
def test_options_of_prepare_reach_the_function(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ['--series', '1.2', '1.3', '--hu-offset', '-1024', '--jobs', '2']
    wanted = {'series': ['1.2', '1.3'], 'hu_offset': -1024, 'jobs': 2}
    if kind == 'luna16':
        words += ['--min-readers', '2', '--consensus', 'union']
        wanted |= {'min_readers': 2, 'consensus': 'union'}
    seen: dict = {}

    def prepare(*_: object, **options: object) -> Summary:
        seen.update(options)
        return Summary([])

    monkeypatch.setattr(f'lungdet.prepare.prepare_{kind}', prepare)

    assert main(['prepare', kind, 'x', 'y', *words]) == 0

    assert wanted.items() <= seen.items()


@pytest.mark.parametrize(
    'words',
    [['prepare', 'luna16'], ['prepare', 'folder'], ['phantom'], ['verify']],
)
def test_every_argument_of_preparation_is_explained(words: list[str]) -> None:
    parser = build_parser()
    for word in words:
        (sub,) = (a for a in parser._actions if isinstance(a.choices, dict))
        parser = sub.choices[word]

    assert [a.dest for a in parser._actions if not a.help] == []


def test_phantom_to_verified_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scans, cases = tmp_path / 'scans', tmp_path / 'cases'

    assert (
        main(['phantom', str(scans), '--scans', '1', '--size', 'small']) == 0
    )
    assert (
        main(
            [
                'prepare',
                'luna16',
                str(scans),
                str(cases),
                '--lidc-xml',
                str(scans / 'xml'),
            ]
        )
        == 0
    )
    assert main(['verify', str(cases)]) == 0

    assert '1 cases verified' in capsys.readouterr().out
    (uid,) = CaseStore(cases).records
    (path,) = scans.glob('subset0/*.mhd')
    assert path.stem == uid
    assert load_volume(path).array.size <= 15_000_000


def failing(capsys: pytest.CaptureFixture, *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    return error


def test_errors_of_the_system_name_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')

    with pytest.raises(SystemExit), clean_errors('lungdet'):
        (tmp_path / 'file' / 'out').mkdir()

    error = capsys.readouterr().err.strip()
    assert error == (
        f'lungdet: {tmp_path}/file/out: not a directory; check the path and '
        'its permissions.'
    )
    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    with pytest.raises(OSError), clean_errors('lungdet', debug=True):
        (tmp_path / 'file' / 'out').mkdir()


def test_inference_stops_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save(torch.zeros(2), tmp_path / 'w.pth')
    common = ('infer', tmp_path, '--out', tmp_path / 'out', '--weights')

    assert 'not written by' in failing(capsys, *common, tmp_path / 'w.pth')
    assert 'no checkpoint there' in failing(capsys, *common, tmp_path / 'x')
    error = failing(
        capsys, *common, tmp_path / 'w.pth', '--import', 'not_there_at_all'
    )
    assert "No module named 'not_there_at_all'" in error
    error = failing(capsys, *common, tmp_path / 'w.pth', '--device', 'foo')
    assert 'choose auto, cpu or cuda' in error


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
    ],
)
def test_scans_named_on_the_command_line_stay_text(
    word: str, value: object
) -> None:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)

    args = parser.parse_args(['--cfg-options', 'a=1', word])

    assert args.cfg_options == {'a': 1, word.split('=')[0]: value}


def test_option_without_a_value_is_bad_usage(
    capsys: pytest.CaptureFixture,
) -> None:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)

    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--cfg-options', 'foo'])

    assert stop.value.code == 2
    assert "--cfg-options: 'foo' is no KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('tool', 'words', 'message'),
    [
        ('train.py', ['nothing.py'], 'train.py: nothing.py: no such config'),
        ('test.py', ['{wrong}', 'x'], "nothing reads the key 'trian_cfg'"),
        ('misc/print_config.py', ['{wrong}'], "did you mean 'train_cfg'"),
        ('analysis_tools/get_flops.py', ['{wrong}'], "'trian_cfg'"),
        ('analysis_tools/browse_dataset.py', ['no', 'out'], 'index.json'),
    ],
)
def test_tools_stop_in_one_line(
    tmp_path: Path, tool: str, words: list[str], message: str
) -> None:
    wrong = tmp_path / 'wrong.py'
    wrong.write_text('trian_cfg = dict()\n')
    command = [sys.executable, str(ROOT / 'tools' / tool)]

    done = subprocess.run(
        [*command, *(word.format(wrong=wrong) for word in words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )

    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()
