from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.exporters import DEFAULT_FORMATS


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['--model', 'w'], 'needs --out, a folder for the results'),
        (['--num-parts', '2'], '--num-parts 2 needs --part-id, 0 to 1'),
        (['--num-parts', '2', '--part-id', '2'], 'they count from 0'),
        (['--part-id', '1'], 'Give --num-parts too'),
        (['--score-thr', '2'], 'give a probability'),
        (['--keep-all', '--score-thr', '0.5'], 'drops nothing, --score-thr'),
        (['--keep-all', '--fp-rate', '1'], '--fp-rate would'),
        (
            ['--keep-all', '--lung-margin', '0', '--merge', '0'],
            '--lung-margin and --merge would',
        ),
        (['--formats', 'xml'], "'xml' unknown"),
        (['--lung-mask', '{out}.mhd'], 'not there'),
        (['--series', '1.2'], 'no series 1.2'),
    ],
)
def test_options_that_cannot_be_meant(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    (tmp_path / 'scan.mha').write_text('is not read')
    out = str(tmp_path / 'out')
    words = [word.format(out=out) for word in words]
    if not {'--out', '--model'} & {*words}:
        words += ['--out', out, '--model', str(tmp_path / 'w.pth')]

    code = main(['infer', str(tmp_path / 'scan.mha'), *words])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert reason in error


def test_the_help_names_the_formats_that_are_written(
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        main(['infer', '--help'])

    text = ''.join(capsys.readouterr().out.split())
    assert f'{",".join(DEFAULT_FORMATS)}bydefault' in text


def test_scores_are_a_number_or_a_rate(capsys: pytest.CaptureFixture) -> None:
    words = ['--out', 'o', '--model', 'w', '--fp-rate', '1']

    with pytest.raises(SystemExit):
        main(['infer', 'scan', *words, '--score-thr', '0.5'])

    assert 'not allowed with argument' in capsys.readouterr().err
