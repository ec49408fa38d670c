"""The report of tested runs in Chromium, on a phone, a desk and paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lungdet.evaluation import compare_reports
from lungdet.report.html.evaluation_report import evaluation_page
from tests.browser import Page, browser_page
from tests.report.html.test_evaluation_report import OPTIONS, report

pytestmark = pytest.mark.slow
WIDTH = 'document.documentElement.scrollWidth'
# parts of a page that are wider than what is seen of them
CUT = """[...document.querySelectorAll('body *')].filter((one) =>
one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
&& getComputedStyle(one).display !== 'inline'
&& getComputedStyle(one).clipPath === 'none').map((one) => one.className)"""
LONG = 'nodulenet_quartet_attention_genesis_seed_0_fold_of_subset_9'


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Page]:
    runs = [report(LONG), report('other', score=0.5), report('third')]
    differences = compare_reports(runs[0], runs[1:], OPTIONS)
    path = tmp_path / 'report.html'
    path.write_text(evaluation_page(runs, differences), encoding='utf-8')
    with browser_page(path, tmp_path / 'profile') as page:
        yield page
        assert page.requests == [path.resolve().as_uri()]
        assert page.complaints == []


@pytest.mark.parametrize('width', [360, 480, 700, 1025, 1280])
def test_no_table_is_cut_at_any_width(opened: Page, width: int) -> None:
    opened.resize(width, 800)

    assert opened.evaluate(WIDTH) == width
    assert opened.evaluate(CUT) == []


def test_on_a_phone_each_value_says_its_rate(opened: Page) -> None:
    opened.resize(360, 740)

    labels = opened.evaluate(
        """[...document.querySelectorAll('.stack tr:nth-child(1) td')].slice(
        0, 10).map((one) => getComputedStyle(one, '::before').content)"""
    )

    names = ['1/8', '1/4', '1/2', '1', '2', '4', '8', 'CPM']
    names += ['scans', 'nodules']
    assert labels == [f'"{name}: "' for name in names]


def test_on_paper_the_tables_are_whole(opened: Page) -> None:
    opened.media('print', 'dark')
    opened.resize(718, 1000)  # of A4 with margins

    assert opened.evaluate(WIDTH) == 718
    assert opened.evaluate(CUT) == []
    label = "getComputedStyle(document.querySelector('.stack td'), '::before')"
    assert opened.evaluate(f'{label}.content') == 'none'
    assert np.median(opened.screenshot()) > 250  # dark elsewhere
