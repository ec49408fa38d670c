"""Links between the pages lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub forms them."""
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    headings = re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in headings
    }


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(
        r'\]\((?!https?:)([^)#]*)(?:#([^)]+))?', page.read_text()
    )

    missing = []
    for file, anchor in links:
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f'{file}#{anchor}')

    assert missing == []


def test_anchor_of_a_heading_with_a_comma(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text(
        "# The method's table\n## Boxes, borders\n```\n# no\n```\n"
    )

    assert anchors(page) == {'the-methods-table', 'boxes-borders'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_page_has_no_markers_of_a_merge(page: Path) -> None:
    markers = re.findall(r'^(?:<{7}|>{7}) .*$', page.read_text(), re.MULTILINE)

    assert markers == []
