from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.exporters import export_result
from lungdet.io.image import write_image
from tests.report.html.scene import GRID, make_image, make_result


@pytest.fixture
def result(tmp_path: Path) -> Path:
    folder = tmp_path / 'case'
    folder.mkdir()
    export_result(folder, make_result(), ['json'])
    return folder


def test_the_page_is_named(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / 'scan.mha'
    write_image(scan, make_image().array, GRID)

    assert main(['report', str(result), '--scan', str(scan)]) == 0
    out = tmp_path / 'other.html'
    assert (
        main(['report', str(result / 'result.json'), '--out', str(out)]) == 0
    )

    assert capsys.readouterr().out.splitlines() == [
        f'report: {result / "report.html"}',
        f'report: {out}',
    ]
    with_pictures = (result / 'report.html').stat().st_size
    assert with_pictures > 2 * out.stat().st_size


def test_a_scan_without_its_offset_names_an_option_that_is_there(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / 'scan.mha'
    write_image(scan, make_image().array + 1024, GRID)
    words = ['report', str(result), '--scan', str(scan)]

    assert main(words) == 2
    assert '--hu-offset -1024' in capsys.readouterr().err
    assert main([*words, '--hu-offset', '-1024']) == 0

    assert (result / 'report.html').exists()


def test_several_results_become_a_folder_of_pages(
    result: Path, tmp_path: Path
) -> None:
    other = tmp_path / 'other'
    other.mkdir()
    export_result(other, make_result(), ['json'])
    pages = tmp_path / 'pages'

    assert main(['report', str(result), str(other), '--out', str(pages)]) == 0

    assert {p.name for p in pages.iterdir()} == {'case.html', 'other.html'}


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'name either results of scans, or tested runs'),
        (['CASE', '--froc', 'x'], 'name either results of scans'),
        (['CASE', '--scan', 'a', 'b'], '2 scans of 1 results'),
        (['CASE', '--viewer', 'niivue'], 'name the scan with --scan'),
        (['CASE', 'CASE'], 'two results would be the same page'),
        (['CASE', 'CASE', '--out', 'x.html'], 'is one page, there are 2'),
        (
            ['--froc', 'CASE', '--annotations', 'a', '--excluded', 'b'],
            '--annotations, --excluded: only for results of scans, and this '
            'is a report of tested runs; leave them out.',
        ),
        (['--froc', 'CASE', '--viewer', 'niivue'], '--viewer: only for res'),
        (['--froc', 'CASE', '--scan', 'a'], '--scan: only for results of s'),
        (['--froc', 'CASE', '--hu-offset', '0'], '--hu-offset: only for res'),
        (
            ['CASE', '--cases', 'x', '--strata', 'subset'],
            '--cases, --strata: only for tested runs, and this is a report '
            'of results of scans; leave them out.',
        ),
        (['CASE', '--cases', 'x'], '--cases: only for tested runs, and'),
        (['CASE', '--hu-offset', '-1024'], '--hu-offset: is added to the'),
        (['--froc', 'CASE', '--strata', 'subset'], 'them with --cases'),
        (['CASE/no'], 'no such file or directory'),
        (['--froc', 'CASE'], 'froc.json: no such file or directory'),
    ],
)
def test_wrong_options_are_one_line(
    result: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace('CASE', str(result)) for word in words]

    assert main(['report', *words]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (result / 'report.html').exists()
