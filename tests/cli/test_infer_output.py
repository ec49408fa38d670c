from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis.inference_record import InferenceReport, ScanOutcome
from lungdet.apis.scan_input import ScanInput
from lungdet.cli.infer_output import InferOutput, series_table
from tests.apis.test_inference_record import INFO

DONE = ScanOutcome(
    '1.2', '1.2', 'done', None, 2, 0.75, ('a doubt',), {'read': 1, 'write': 2}
)
FAILED = ScanOutcome(
    'x\x1b[2J', 'x', 'failed', 'is cut', error=ValueError('of the code')
)
SKIPPED = ScanOutcome('1.3', '1.3', 'skipped', None, 0)


def printed(
    capsys: pytest.CaptureFixture[str],
    *,
    quiet: bool = False,
    verbose: bool = False,
    debug: bool = False,
) -> tuple[list[str], list[str]]:
    output = InferOutput(3, quiet=quiet, verbose=verbose, debug=debug)
    output.caveat('left out: a folder: no CT series')
    with output:
        output.scan(SKIPPED)
        output.windows(3, 8)
        output.scan(DONE)
        output.scan(FAILED)
    outcomes = (SKIPPED, DONE, FAILED)
    report = InferenceReport(INFO, 'cpu', 'fp32', {}, outcomes, 4, 'full')
    output.end(report, Path('out'))
    text = capsys.readouterr()
    return text.out.splitlines(), text.err.splitlines()


def test_one_line_a_scan(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys)

    assert out == [
        '[1/3] 1.3: 0 detections; done before',
        '[2/3] 1.2: 2 detections, the best 0.75; 1 caveat; 3.0 s',
        '1 scan done, 1 done before, 1 failed, 4 not tried; results in out '
        '(research use only)',
    ]
    assert err == [
        'caveat: left out: a folder: no CT series',
        'lungdet: [3/3] x\\x1b[2J: failed: is cut',
        'lungdet: stopped: full',
    ]


def test_the_last_line_names_the_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = InferenceReport(INFO, 'cpu', 'fp32', {}, (DONE,), 0, '')
    last = []
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'report.html').touch()
        InferOutput(1, quiet=False, verbose=False, debug=False).end(
            report, tmp_path
        )
        last.append(capsys.readouterr().out.splitlines()[-1])

    assert last == [
        f'look at {tmp_path / "a" / "report.html"}',
        f'look at 2 pages: {tmp_path}/*/report.html',
    ]


def test_quiet_verbose_and_debug(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, quiet=True)
    assert not out and [line.split(':')[1] for line in err] == [
        ' [3/3] x\\x1b[2J',
        ' stopped',
    ]

    out, err = printed(capsys, verbose=True)
    assert '  read 1.0 s, write 2.0 s' in out
    assert 'caveat: 1.2: a doubt' in err

    _, err = printed(capsys, debug=True)
    assert 'ValueError: of the code' in err


def test_series_of_a_folder_in_a_table() -> None:
    scans = [
        ScanInput('1.2', Path('d'), None, '1.2', '9', 30, 1.25, 'LUNG\x07'),
        ScanInput('a', Path('z.zip'), 'x/a.mha'),
        ScanInput('b', Path('b.zip'), defect='is cut'),
    ]

    text = series_table(scans)

    for words in (
        ('1.2', '30', '1.25', 'LUNG\\x07', 'd'),
        ('a', 'z.zip (x/a.mha)'),
        ('b', 'is cut', 'b.zip'),
    ):
        assert any(
            all(word in line for word in words) for line in text.splitlines()
        )


def test_results_of_two_precisions_are_a_caveat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = replace(SKIPPED, precision='bf16')
    outcomes = (earlier, replace(DONE, precision='fp32'))
    for quiet, said in ((False, True), (True, False)):
        report = InferenceReport(INFO, 'cpu', 'fp32', {}, outcomes)
        output = InferOutput(2, quiet=quiet, verbose=False, debug=False)

        output.end(report, tmp_path)

        assert report.to_dict()['precision'] == 'bf16, fp32'
        text = capsys.readouterr().err
        assert ('results are in bf16 and in fp32' in text) == said


def test_a_run_without_new_results_has_the_precision_of_the_earlier_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have chosen another one, in which nothing was computed."""
    earlier = replace(SKIPPED, precision='bf16')
    report = InferenceReport(INFO, 'cpu', 'fp32', {}, (earlier,))

    InferOutput(1, quiet=False, verbose=False, debug=False).end(
        report, tmp_path
    )

    assert report.to_dict()['precision'] == 'bf16'
    assert 'results are in' not in capsys.readouterr().err
