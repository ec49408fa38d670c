from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lungdet.apis.submission_files import (
    load_grouping,
    load_reference,
    load_submission,
)
from lungdet.cli import main
from lungdet.errors import AnnotationError
from lungdet.evaluation import EvaluationOptions, evaluate_submission
from lungdet.io.reference_set import official_reference
from tests.schemas import assert_valid

NO_INTERVALS = EvaluationOptions(bootstrap=0)
MARKS = 'seriesuid,coordX,coordY,coordZ,probability\n'
NODULES = 'seriesuid,coordX,coordY,coordZ,diameter_mm\n'


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """Two scans, two nodules, one of them detected; one false positive."""
    files = {
        'annotations': NODULES + '01,-5,0,0,8\n02,9,0,-9,8\n',
        'excluded': NODULES + '02,60,0,0,-1\n',
        'seriesuids': '01\n02\n',
        'marks': MARKS + '01,-5,1,0,.9\n01,40,0,0,.6\n02,60,1,0,.95\n',
    }
    for name, text in files.items():
        (tmp_path / f'{name}.csv').write_text(text)
    return {name: tmp_path / f'{name}.csv' for name in files}


def options(tables: dict[str, Path]) -> list[str]:
    return [
        word
        for name in ('annotations', 'excluded', 'seriesuids')
        for word in (f'--{name}', str(tables[name]))
    ]


def test_tables_of_ones_own(
    tables: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    code = main(['froc', str(tables['marks']), *options(tables)])

    assert code == 0
    text = capsys.readouterr().out
    assert 'reference: annotations of annotations.csv, excluded of' in text
    assert '1 true positives, 1 false positives, 1 false neg' in text
    assert '2 of 2 nodules, 1 of 1 excluded findings' in text
    assert '1 ignored on excluded' in text
    assert '2 scans of 2 listed, 2 nodules' in text
    # the hit comes first, the false positive at 1/2 per scan
    assert text.count('| 0.500 ') == 8


def test_official_tables_are_those_of_the_challenge() -> None:
    official = official_reference()

    assert len(official.seriesuids) == 888
    assert list(official.seriesuids) == sorted(official.seriesuids)
    assert len(official.annotations) == 601
    assert sum(map(len, official.annotations.values())) == 1186
    assert sum(map(len, official.excluded.values())) == 35192
    unknown = [
        finding
        for findings in official.excluded.values()
        for finding in findings
        if finding.diameter_mm is None
    ]
    assert len(unknown) == 30513


def test_one_deeplung_line_of_the_published_table(
    test_data: Path, capsys: pytest.CaptureFixture
) -> None:
    path = test_data / 'froc-oracles' / 'deeplung_dpn26.csv.gz'

    code = main(['froc', str(path), '--bootstrap', '0'])

    assert code == 0
    text = capsys.readouterr().out
    (row,) = [r for r in text.splitlines() if '| deeplung' in r]
    digits = '.692 .769 .824 .865 .893 .917 .933 .842'
    cells = [cell.strip() for cell in row.split('|')[2:-1]]
    assert cells == [f'0{d}' for d in digits.split()]
    assert '888 scans of 888 listed, 1186 nodules' in text
    assert '2969 dropped by the cap' in text


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('marks', MARKS + '1,-5,1,0,.9\n', "'1', where the scan list has"),
        ('annotations', NODULES + '2.0,9,0,-9,8\n', 'series ids lost digits'),
        ('marks', MARKS + '1.3E+20,-5,1,0,.9\n', 'lost its digits'),
        ('marks', MARKS + '01,-5,1,0,nan\n', "probability is 'nan'"),
        ('marks', MARKS.replace(',', ';'), 'separated by commas'),
        ('marks', MARKS.replace('prob', 'Prob'), "Is 'Probability' meant"),
        ('marks', MARKS.replace('probability', 'class'), 'a score first'),
        ('marks', '', "column 'seriesuid' is missing"),
        ('marks', MARKS + '01,-5,1\n', 'the row is cut'),
        ('marks', MARKS + '9,-5,1,0,.9\n', 'none of 1 scans is in the scan'),
        ('seriesuids', 'seriesuid\n01\n', 'header line'),
        ('seriesuids', '01\n02\n01\n', 'listed twice'),
    ],
)
def test_broken_input_is_one_line_that_says_where(
    tables: dict[str, Path],
    capsys: pytest.CaptureFixture,
    name: str,
    text: str,
    message: str,
) -> None:
    tables[name].write_text(text)

    code = main(['froc', str(tables['marks']), *options(tables)])

    assert code == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert message in error


def test_a_mangled_list_of_deepseed_is_refused(
    test_data: Path, tmp_path: Path
) -> None:
    # DeepSEED's tables wrote scan numbers without leading zeros, its marks
    # with three digits; ten of 88 scans were lost
    folder = test_data / 'froc-oracles'
    uids = (folder / 'deepseed_fold9_seriesuids.csv').read_text().split()
    number = {uid: f'{k:03d}' for k, uid in enumerate(uids)}
    rows = (folder / 'deepseed_fold9.csv').read_text().split()[1:]
    marks = [number[r.split(',')[0]] + r[r.index(',') :] for r in rows]
    submission, scans = tmp_path / 'marks.csv', tmp_path / 'scans.csv'
    submission.write_text(MARKS + '\n'.join(marks))
    scans.write_text('\n'.join(n.lstrip('0') or '0' for n in number.values()))

    with pytest.raises(AnnotationError, match='series ids lost digits'):
        load_submission(submission, load_reference(seriesuids=scans))


def test_ids_that_mostly_do_not_meet_are_refused(
    tables: dict[str, Path], tmp_path: Path
) -> None:
    listed = official_reference().seriesuids
    renamed, some = tmp_path / 'renamed.txt', tmp_path / 'some.txt'
    renamed.write_text('\n'.join(['000', '001', listed[0]]))
    some.write_text('\n'.join(['000', *listed[:2]]))
    marks = tmp_path / 'm.csv'
    marks.write_text(
        MARKS + f'{listed[0]},1,2,3,.5\n' + 'x,1,2,3,.5\ny,1,2,3,.5\n'
    )

    with pytest.raises(AnnotationError, match=r'annotations\.csv: none of'):
        load_reference(tables['annotations'])
    with pytest.raises(AnnotationError, match='2 of 3 listed scans are not'):
        load_submission(marks, load_reference(seriesuids=renamed))
    with pytest.raises(AnnotationError, match=r'm\.csv: 2 of 3 scans are'):
        load_submission(marks, official_reference())
    marks.write_text(MARKS + f'{listed[0]},1,2,3,.5\n')
    reference = load_reference(seriesuids=some)
    report = evaluate_submission(
        load_submission(marks, reference), reference, NO_INTERVALS
    )
    assert 'scans-in-no-table' in [c.name for c in report.caveats]


@pytest.mark.parametrize('name', ['seriesuids', 'annotations', 'marks'])
def test_pipes_give_the_figures_of_files(
    tables: dict[str, Path], capsys: pytest.CaptureFixture, name: str
) -> None:
    words = ['--strata', 'diameter', '--candidates', '--bootstrap', '0']
    assert main(['froc', str(tables['marks']), *options(tables), *words]) == 0
    expected = capsys.readouterr().out
    text = tables[name].read_text()
    tables[name].unlink()
    os.mkfifo(tables[name])
    writer = threading.Thread(target=tables[name].write_text, args=(text,))
    writer.start()

    code = main(['froc', str(tables['marks']), *options(tables), *words])

    writer.join()
    assert code == 0
    assert capsys.readouterr().out == expected


def test_names_that_are_no_text_are_shown_by_their_codes(
    tables: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tables['marks'].parent) + b'/\xff\x1b'))
    tables['marks'].rename(odd)

    code = main(['froc', str(odd), *options(tables), '--bootstrap', '0'])

    assert code == 0
    assert r'submission: \udcff\x1b' in capsys.readouterr().out


def test_json_has_everything_that_is_printed(tables: dict[str, Path]) -> None:
    reference = load_reference(
        *(tables[n] for n in ('annotations', 'excluded', 'seriesuids'))
    )
    submission = load_submission(tables['marks'], reference)

    froc = evaluate_submission(
        submission, reference, EvaluationOptions(bootstrap=50)
    ).to_dict()

    assert json.loads(json.dumps(froc)) == froc
    assert_valid('froc', froc)
    assert froc['counts']['tp'] == 1 and froc['cpm'] == 0.5
    assert len(froc['sha256']) == 64
    assert froc['thresholds'] == [0.9, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6]
    assert froc['bootstrap']['resamples'] <= 50
    assert froc['unmatched_ids'] == []


def test_scoring_needs_no_torch(tables: dict[str, Path]) -> None:
    # a path without torch and mmengine: importing them would fail
    code = (
        'import sys\n'
        "for name in ('torch', 'mmengine', 'mmcv'):\n"
        '    sys.modules[name] = None\n'
        'from lungdet.cli import main\n'
        f'sys.exit(main({["froc", str(tables["marks"]), *options(tables)]}))'
    )

    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_two_submissions_strata_json_and_plot(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / 'other.csv'
    other.write_text(MARKS + '01,-5,1,0,.9\n02,9,0,-8,.8\n')
    out = tmp_path / 'out'

    code = main(
        [
            'froc',
            str(tables['marks']),
            *options(tables),
            *('--compare', str(other)),
            *('--strata', 'diameter'),
            *('--bootstrap', '40'),
            *('--json', str(out / 'froc.json')),
            *('--plot', str(out / 'froc.svg')),
        ]
    )

    assert code == 0
    text = capsys.readouterr().out
    assert 'marks.csv minus other.csv, 40 resamples of the same scans' in text
    froc = json.loads((out / 'froc.json').read_text())
    assert_valid('froc', froc)
    (compared,) = froc['compared']
    assert compared['cpm'] == 1.0
    assert compared['difference']['cpm'] == -0.5
    assert froc['strata']['6-10 mm']['counts']['nodules'] == 2
    assert 'other.csv, CPM 1.000' in (out / 'froc.svg').read_text()


def test_columns_of_nodules_and_of_scans(
    tables: dict[str, Path], tmp_path: Path
) -> None:
    tables['annotations'].write_text(
        NODULES.replace('\n', ',texture\n')
        + '01,-5,0,0,8,solid\n02,9,0,-9,8,ground glass\n'
    )
    scans = tmp_path / 'table.csv'
    scans.write_text('seriesuid,slice_mm\n02,2.5\n01,0.625\n')
    reference = load_reference(
        *(tables[n] for n in ('annotations', 'excluded', 'seriesuids'))
    )
    submission = load_submission(tables['marks'], reference)

    def strata(column: str, scan_table: Path | None) -> dict[str, tuple]:
        grouping = load_grouping(
            column,
            reference,
            annotations=tables['annotations'],
            scan_table=scan_table,
        )
        report = evaluate_submission(
            submission, reference, NO_INTERVALS, grouping=grouping
        )
        counts = {k: s.result.counts for k, s in report.strata.items()}
        return {k: (c['scans'], c['tp'], c['fn']) for k, c in counts.items()}

    by_texture = {'ground glass': (2, 0, 1), 'solid': (2, 1, 0)}
    assert strata('texture', None) == by_texture
    by_slice = {'0.625': (1, 1, 0), '2.5': (1, 0, 1)}
    assert strata('slice_mm', scans) == by_slice
    with pytest.raises(AnnotationError, match="a column 'colour'"):
        strata('colour', None)
    # a table of scans is not left unread
    for column in ('texture', 'subset'):
        with pytest.raises(AnnotationError, match=f'no column {column!r}'):
            strata(column, scans)
    scans.write_text('seriesuid,slice_mm\n02,2.5\n02,5\n')
    with pytest.raises(AnnotationError, match='02 has several values'):
        strata('slice_mm', scans)


def test_official_subsets_are_strata(test_data: Path) -> None:
    folder = test_data / 'froc-oracles'
    expected = json.loads((folder / 'expected.json').read_text())
    reference = load_reference()

    report = evaluate_submission(
        load_submission(folder / 'deeplung_dpn26.csv.gz', reference),
        reference,
        NO_INTERVALS,
        grouping=load_grouping('subset', reference),
    )

    assert [stratum.result.cpm for stratum in report.strata.values()] == (
        pytest.approx(
            [s['cpm_interp'] for s in expected['deeplung_dpn26']['per_subset']]
        )
    )


def test_given_candidates_have_a_ceiling(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = tmp_path / 'candidates.csv'
    given.write_text(
        MARKS.replace('probability', 'class')
        + '01,-5,1,0,1\n01,40,0,0,0\n02,60,1,0,0\n02,7,7,7,0\n'
    )

    code = main(
        [
            'froc',
            str(tables['marks']),
            *options(tables),
            *('--candidates', str(given)),
        ]
    )

    assert code == 0
    text = capsys.readouterr().out
    assert 'candidates: 3 before the cap, 1 on nodules, 1 on exc' in text
    assert '1 of 2 nodules have one, so no scores' in text
    assert 'caveat: candidates-without-score: 1 of 4 given' in text


def test_pictures_need_a_folder(capsys: pytest.CaptureFixture) -> None:
    assert main(['froc', 'marks.csv', '--cases', 'made']) == 2

    assert 'into --details DIR' in capsys.readouterr().err


def test_files_of_one_name_keep_apart(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'new').mkdir()
    other = tmp_path / 'new' / 'marks.csv'
    other.write_text(MARKS + '01,-5,1,0,.9\n02,9,0,-8,.8\n')
    plot = tmp_path / 'froc.svg'

    main(
        [
            'froc',
            str(tables['marks']),
            *options(tables),
            *('--compare', str(other), '--plot', str(plot)),
        ]
    )

    assert f'{tables["marks"]} minus {other}' in capsys.readouterr().out
    assert 'CPM 0.500' in plot.read_text()
    assert 'CPM 1.000' in plot.read_text()


def test_unknown_suffix_of_a_plot(
    tables: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    code = main(
        ['froc', str(tables['marks']), *options(tables), '--plot', 'a.bmp']
    )

    assert code == 2
    assert 'written as .png, .svg, .pdf' in capsys.readouterr().err
