from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.evaluation import READ_OUTS


def test_every_read_out_is_offered(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['froc', '--help'])

    assert '{' + ','.join(READ_OUTS) + '}' in capsys.readouterr().out


@pytest.mark.parametrize('option', ['--json', '--plot', '--details'])
def test_output_of_another_kind_is_refused_before_anything_is_scored(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    there = tmp_path / 'there'
    there.write_text('') if option == '--details' else there.mkdir()

    assert main(['froc', 'absent.csv', option, str(there)]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f'lungdet: {option} {there}: is a f')


@pytest.mark.parametrize('option', ['--json', '--plot', '--details'])
def test_output_that_cannot_be_written_is_noticed_first(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    out = tmp_path / 'file' / 'below.png'

    assert main(['froc', 'absent.csv', option, str(out)]) == 2

    error = capsys.readouterr().err
    assert 'cannot be written to' in error and option in error


@pytest.mark.parametrize('strata', [[], ['--strata', 'diameter']])
def test_table_of_scans_that_would_not_be_read_is_refused(
    strata: list[str], capsys: pytest.CaptureFixture
) -> None:
    table = ['--scan-table', 'absent.csv']

    assert main(['froc', 'absent_too.csv', *table, *strata]) == 2

    error = capsys.readouterr().err
    assert error.startswith('lungdet: --scan-table absent.csv: is read for')


@pytest.mark.parametrize(
    ('arguments', 'option'),
    [
        (['{m}', '--json', '{m}'], '--json'),
        (['{m}', '--seriesuids', '{s}', '--plot', '{s}'], '--plot'),
        (['{m}', '--compare', '{s}', '--json', '{s}'], '--json'),
        (['{m}', '--json', '{p}', '--plot', '{p}'], '--json'),
    ],
)
def test_outputs_do_not_replace_inputs(
    arguments: list[str],
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    paths = {name: tmp_path / f'{name}.svg' for name in 'msp'}
    for name in 'ms':
        paths[name].write_text('kept')

    given = [argument.format(**paths) for argument in arguments]
    assert main(['froc', *given]) == 2

    assert f'{option} {tmp_path}' in (error := capsys.readouterr().err)
    assert 'would overwrite' in error
    assert [paths[name].read_text() for name in 'ms'] == ['kept', 'kept']
