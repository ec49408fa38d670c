from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lungdet.apis import inferencer
from lungdet.cli import main
from tests.apis.scans import write_scans
from tests.cli.infer_words import weights_and_out
from tests.dicom_series import labelled, write_series
from tests.schemas import assert_valid


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
