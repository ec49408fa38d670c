from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lungdet.apis import inferencer
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.scan_steps import ScanSteps
from lungdet.cli import main
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from tests.apis.test_infer_scans import write_scans
from tests.dicom_series import labelled, write_series
from tests.engine.conftest import tiny_config, tiny_store, trained
from tests.schemas import assert_valid

__all__ = ['tiny_config', 'tiny_store', 'trained']

CREATED = re.compile(rb'\d{4}-\d\d-\d\dT[\d:]+\+00:00')  # in report.html


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['{folder}/w.pth'], 'not written by'),
        (['{folder}/x'], 'no checkpoint there'),
        (
            ['{folder}/w.pth', '--import', 'not_there_at_all'],
            "No module named 'not_there_at_all'",
        ),
        (
            ['{folder}/w.pth', '--device', 'foo'],
            'choose auto, cpu or cuda',
        ),
    ],
)
def test_inference_stops_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    torch.save(torch.zeros(2), tmp_path / 'w.pth')
    (tmp_path / 'scan.mha').write_text('is not read')
    weights = [word.format(folder=tmp_path) for word in words]
    out = str(tmp_path / 'out')

    code = main(['infer', str(tmp_path), '--out', out, '--weights', *weights])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert reason in error


def test_what_is_there_is_listed_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    truth = np.full((12, 16, 24), -850.0)
    for uid, words in (('1.1', 'SOFT'), ('1.2', 'LUNG')):
        edit = labelled(SeriesDescription=words, StudyInstanceUID='9')
        (tmp_path / uid).mkdir()
        write_series(tmp_path / uid, truth, series=uid, edit=edit)

    assert main(['infer', str(tmp_path), '--list-series']) == 0

    lines = capsys.readouterr().out.splitlines()
    for uid, words in (('1.1', 'SOFT'), ('1.2', 'LUNG')):
        (line,) = [line for line in lines if words in line]
        assert uid in line and '12' in line


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_scans(tmp_path / 'in', ['a', 'b', 'c', 'd', 'e'])
    return tmp_path / 'in'


def test_a_tree_from_the_command_line(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out, report = tmp_path / 'out', tmp_path / 'report.json'
    (scans / 'b.mha').write_text('no image')
    words = ['infer', str(scans), '--weights', str(trained), '--out', str(out)]
    words += ['--formats', 'json', '--score-thr', '0', '--precision', 'fp32']

    code = main([*words, '--report', str(report)])

    text = capsys.readouterr()
    assert code == 3
    lines = text.out.splitlines()
    assert [line.split(':')[0] for line in lines[:-1]] == [
        '[1/5] a',
        '[3/5] c',
        '[4/5] d',
        '[5/5] e',
    ]
    assert lines[-1].startswith('4 scans done, 1 failed; results in')
    assert '[2/5] b: failed: b: ' in text.err
    content = json.loads(report.read_text())
    assert_valid('infer_report', content)
    assert content['counts']['done'] == 4

    assert main([*words, '-q']) == 3
    text = capsys.readouterr()
    assert not text.out and 'b: failed' in text.err


def weights_and_out(trained: Path, out: Path) -> list[str]:
    words = ['--model', str(trained), '--out', str(out), '--formats', 'json']
    return [*words, '--precision', 'fp32']


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_report_of_an_interrupted_run_has_its_exit_code(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def detect(*given: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(ScanSteps, 'detect', detect)
    # a suite that runs in the background ignores Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    try:
        code = main(['infer', str(scans), *words, '--report', str(report)])
    finally:
        signal.signal(signal.SIGINT, before)

    content = json.loads(report.read_text())
    assert code == content['exit_code'] == 130
    assert content['stopped'] == 'interrupted'
    assert_valid('infer_report', content)


def test_the_report_of_a_run_that_an_error_ends_has_its_exit_code(
    trained: Path, scans: Path, tmp_path: Path
) -> None:
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    words += ['--report', str(report)]
    assert main(['infer', str(scans / 'a.mha'), *words]) == 0

    code = main(['infer', str(scans / 'a.mha'), *words, '--keep-all'])

    content = json.loads(report.read_text())
    assert code == content['exit_code'] == 2
    assert content['stopped'] == 'by an error'


@pytest.mark.parametrize(
    ('error', 'code'), [(RuntimeError('a bug'), 1), (BrokenPipeError(), 141)]
)
def test_the_report_of_a_run_that_breaks_has_its_exit_code(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    def break_off(self: ScanRun, todo: list) -> None:
        raise error

    monkeypatch.setattr(ScanRun, 'work_on', break_off)
    report = tmp_path / 'report.json'
    words = weights_and_out(trained, tmp_path / 'out')
    with suppress(RuntimeError, BrokenPipeError, SystemExit):
        main(['infer', str(scans / 'a.mha'), *words, '--report', str(report)])

    content = json.loads(report.read_text())
    assert (content['exit_code'], content['stopped']) == (code, 'by an error')
    assert content['counts']['untried'] == 1
    assert_valid('infer_report', content)
    assert_valid('infer_report', content)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('none', []),
        ('in', ['--model', 'not/there.pth']),
        ('in', ['--series', '1.2']),
    ],
)
def test_a_run_that_ends_before_its_first_scan_has_a_report(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    name: str,
    words: list[str],
) -> None:
    (tmp_path / 'none').mkdir()
    report = tmp_path / 'report.json'
    usual = weights_and_out(trained, tmp_path / 'out')

    code = main(
        ['infer', str(tmp_path / name), *usual, '--report', str(report)]
        + words
    )

    content = json.loads(report.read_text())
    assert_valid('infer_report', content)
    assert code == content['exit_code'] == 2
    assert content['stopped'] == 'by an error'
    assert content['model'] is None and not content['scans']


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('file/x.json', 'give another folder for the report'),
        ('folder', 'name a file in a folder'),
    ],
)
def test_a_report_that_cannot_be_written_stops_it_before_any_scan(
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    name: str,
    reason: str,
) -> None:
    """The weights are not there either, which is found when they load."""
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    words = weights_and_out(tmp_path / 'absent.pth', tmp_path / 'out')

    code = main(
        ['infer', str(scans), *words, '--report', str(tmp_path / name)]
    )

    assert code == 2
    assert reason in capsys.readouterr().err
    assert not list((tmp_path / 'out').iterdir())


def test_folders_named_after_patients_stay_out_of_everything(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ('SMITH_JOHN', 'MILLER_ANNA', 'DOE'):
        write_scans(tmp_path / 'tree' / name, ['ct'])
    (tmp_path / 'tree' / 'DOE' / 'ct.mha').write_text('no image')
    out, report = tmp_path / 'out', tmp_path / 'report.json'
    words = ['infer', str(tmp_path / 'tree'), '--model', str(trained)]
    words += ['--out', str(out), '--report', str(report), '--formats', 'json']

    assert main([*words, '-v']) == 3
    texts = [*capsys.readouterr(), report.read_text()]
    for path in out.rglob('*'):
        texts += [path.name, path.read_text() if path.is_file() else '']
    assert main(words) == 3

    for text in texts:
        assert not any(name in text for name in ('SMITH', 'MILLER', 'DOE'))
    assert '2 done before, 1 failed' in capsys.readouterr().out


def test_parts_share_the_scans(
    trained: Path, scans: Path, tmp_path: Path
) -> None:
    words = ['infer', str(scans), '--model', str(trained), '--quiet']
    words += ['--formats', 'json', '--num-parts', '2', '--precision', 'fp32']
    done = []
    for part in '01':
        out = tmp_path / part
        code = main([*words, '--part-id', part, '--out', str(out)])
        assert code == 0
        done.append(sorted(p.name for p in out.iterdir() if p.is_dir()))

    assert done == [['a', 'c', 'e'], ['b', 'd']]
    merge = ['merge', '--out', str(tmp_path / 'all'), str(tmp_path / '0')]
    assert main(merge) == 4
    assert main([*merge, str(tmp_path / '1')]) == 0


def test_a_failed_scan_is_missing_from_what_is_merged(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    (scans / 'b.mha').write_text('no image')
    words = ['infer', str(scans), *weights_and_out(trained, tmp_path / 'out')]
    assert main(words) == 3
    capsys.readouterr()

    words = ['merge', str(tmp_path / 'out'), '--out', str(tmp_path / 'all')]
    assert main(words) == 4
    assert 'no result of 1 of 5 scans (b)' in capsys.readouterr().err


def test_a_part_without_scans_says_so(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    words = weights_and_out(trained, tmp_path / 'out')
    words += ['--num-parts', '3', '--part-id', '2']

    assert main(['infer', str(scans / 'a.mha'), *words]) == 0

    assert capsys.readouterr().err == (
        'caveat: --part-id 2 of 3 parts has none of the 1 scan\n'
    )


def test_a_rate_is_the_score_that_the_model_knows(
    trained: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    words = ['infer', str(scans / 'a.mha'), '--model', str(trained)]
    words += ['--out', str(tmp_path / 'out'), '--formats', 'json']
    words += ['--fp-rate', '0.25', '--precision', 'fp32']
    assert main(words) == 2
    assert 'knows its score at none' in capsys.readouterr().err

    usual = inferencer.load_detector

    def load(*given: Any, **more: Any) -> Any:
        detector = usual(*given, **more)
        detector.model.test_cfg['score_thrs'] = {'1': 0.3, '0.25': 0.75}
        return detector

    monkeypatch.setattr(inferencer, 'load_detector', load)
    assert main(words) == 0
    record = json.loads((tmp_path / 'out/a/inference.json').read_text())
    assert record['settings']['selection']['score_thr'] == 0.75
    words[words.index('0.25')] = '4'
    assert main(words) == 2
    assert 'knows its score at 1, 0.25' in capsys.readouterr().err


@pytest.fixture
def marking(trained: Path, tmp_path: Path) -> Path:
    """Weights that mark something everywhere."""
    checkpoint = read_checkpoint(trained)
    checkpoint['meta']['model']['test_cfg']['rpn']['score_thr'] = 0.0
    write_checkpoint(tmp_path / 'marking.pth', checkpoint)
    return tmp_path / 'marking.pth'


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-m', 'lungdet.cli', *words],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a suite that runs in the background ignores Ctrl-C, and so would it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_a_killed_run_continues_and_ends_like_a_whole_one(
    marking: Path, tmp_path: Path
) -> None:
    names = [f's{k:02d}' for k in range(12)]
    write_scans(tmp_path / 'in', names)
    words = ['infer', str(tmp_path / 'in'), '--model', str(marking)]
    words += ['--keep-all', '--precision', 'fp32', '--out']
    out, whole = tmp_path / 'out', tmp_path / 'whole'

    kills = 0
    for count in (1, 4, 8):
        process = start([*words, str(out)])
        while process.poll() is None:
            if len(list(out.glob('*/inference.json'))) >= count:
                process.kill()
            time.sleep(0.02)
        kills += process.wait() == -signal.SIGKILL
        before = {
            path: path.stat().st_mtime_ns
            for path in out.glob('*/inference.json')
        }
    assert kills >= 2
    assert start([*words, str(out)]).wait() == 0
    assert start([*words, str(whole)]).wait() == 0

    folders = [path for path in out.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == names
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written
    for name in names:
        files = {path.name for path in (out / name).iterdir()}
        assert files == {path.name for path in (whole / name).iterdir()}
        for file in files - {'result.json', 'inference.json', 'marks.png'}:
            there, straight = (
                CREATED.sub(b'', (folder / name / file).read_bytes())
                for folder in (out, whole)
            )
            assert there == straight
        a, b = (
            json.loads((folder / name / 'result.json').read_text())
            for folder in (out, whole)
        )
        assert a['detections'] == b['detections'] and a['detections']


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130_and_a_report(
    trained: Path, tmp_path: Path, number: int
) -> None:
    write_scans(tmp_path / 'in', [f's{k:02d}' for k in range(12)])
    out, report = tmp_path / 'out', tmp_path / 'report.json'
    process = start(
        ['infer', str(tmp_path / 'in'), '--model', str(trained)]
        + ['--out', str(out), '--report', str(report)]
    )
    while not list(out.glob('*/inference.json')):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)

    assert process.wait() == 130
    content = json.loads(report.read_text())
    assert content['stopped'] == 'interrupted'
    assert content['exit_code'] == 130
    assert content['counts']['untried'] > 0
    assert not list(out.rglob('.tmp-*'))
