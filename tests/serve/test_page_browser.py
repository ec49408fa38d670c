"""The upload page in Chromium, from choosing a scan to its report."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apis.scans import write_scans
from tests.browser import Page, browser_page
from tests.serve.live import Server, server

pytestmark = pytest.mark.slow
NAME = '<img src=x onerror=alert(1)>.mha'
TOKEN = 'correct-horse-battery'
ENTRY = "document.querySelector('#list li')"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_scans(tmp_path / 'in', ['a'])
    return (tmp_path / 'in' / 'a.mha').rename(tmp_path / NAME)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Server]:
    with server(
        *(tmp_path / 'out', '--precision', 'fp32', '--score-thr', '0'),
        *('--max-upload', '5'),
    ) as made:
        yield made


def choose(page: Page, path: Path) -> None:
    """Choose a file, as in the file dialog."""
    page.call('DOM.enable')
    root = page.call('DOM.getDocument')['root']['nodeId']
    node = page.call('DOM.querySelector', nodeId=root, selector='#file')
    page.call('DOM.setFileInputFiles', files=[str(path)], **node)


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page."""
    paths = {'items': [], 'files': [str(path)], 'dragOperationsMask': 1}
    for kind in ('dragEnter', 'dragOver', 'drop'):
        page.call(
            'Input.dispatchDragEvent', type=kind, x=200, y=200, data=paths
        )


def wait_for(page: Page, code: str, seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not page.evaluate(code):
        assert time.monotonic() < end, page.evaluate('document.body.innerText')
        time.sleep(0.1)


def keep(page: Page, name: str) -> None:
    """Save a screenshot if LUNGDET_SCREENSHOTS names a folder."""
    folder = os.environ.get('LUNGDET_SCREENSHOTS')
    if folder:
        page.screenshot(Path(folder) / f'{name}.png', full=True)


def test_a_scan_from_the_page_to_its_report(
    live: Server, scan: Path, tmp_path: Path
) -> None:
    with browser_page(f'{live.address}/', tmp_path / 'profile') as page:
        keep(page, 'empty')
        choose(page, scan)
        wait_for(page, f'!!{ENTRY}')
        keep(page, 'sent')
        wait_for(page, f"{ENTRY}.querySelectorAll('.results a').length === 3")

        texts = page.evaluate(
            f"[...{ENTRY}.querySelectorAll('.results a')]"
            '.map((a) => a.textContent).join()'
        )
        assert texts == 'report,result,masks'
        assert (
            page.evaluate(f"{ENTRY}.querySelector('h3').textContent") == NAME
        )
        assert not page.evaluate("document.querySelector('#list img')")
        large = tmp_path / 'large.mha'
        large.write_bytes(bytes(6_000_000))
        choose(page, large)
        wait_for(page, f"{ENTRY}.innerText.includes('larger than 5 MB')")
        drop(page, scan)
        wait_for(page, "document.querySelectorAll('.results a').length === 6")
        keep(page, 'done')
        for scheme in ('light', 'dark'):
            page.resize(360, 740)
            page.media(scheme=scheme)
            keep(page, f'phone-{scheme}')
            width = 'document.documentElement.scrollWidth'
            assert page.evaluate(width) == 360
            ground = page.screenshot()[-1, 1].mean()
            assert (ground > 200) == (scheme == 'light')
        page.resize(1000, 800)
        keep(page, 'dark')
        assert page.complaints == []
        assert all(url.startswith(live.address) for url in page.requests)

        page.open(page.evaluate("document.querySelector('.results a').href"))
        wait_for(page, "!!document.getElementById('slider')")
        assert 'Research use only' in page.evaluate('document.body.innerText')
        moved = page.evaluate(
            "(() => { const before = document.getElementById('slider').value;"
            "document.querySelector('#cine .picture').focus();"
            'return before; })()'
        )
        page.press('ArrowRight')
        after = page.evaluate("document.getElementById('slider').value")
        assert after != moved  # its script runs
        assert page.evaluate('window.origin') == 'null'  # opaque origin
        assert page.complaints == []


def test_keys_alone_are_enough(
    live: Server, scan: Path, tmp_path: Path
) -> None:
    with browser_page(f'{live.address}/', tmp_path / 'profile') as page:
        page.evaluate("document.getElementById('file').focus()")
        ring = page.evaluate(
            "getComputedStyle(document.getElementById('drop')).outlineStyle"
        )
        assert ring == 'solid'
        choose(page, scan)
        wait_for(page, f"{ENTRY}.querySelectorAll('.results a').length === 3")
        job_id = page.evaluate("JSON.parse(sessionStorage['lungdet-jobs'])[0]")

        page.open(f'{live.address}/')  # reload
        wait_for(page, f"{ENTRY}?.querySelectorAll('.results a').length === 3")
        page.evaluate(f"{ENTRY}.querySelector('.delete').focus()")
        page.press('Enter')
        wait_for(page, f'!{ENTRY}')

        assert live.client.get(f'/v1/jobs/{job_id}').status_code == 404
        assert page.evaluate('document.activeElement.id') == 'file'
        assert page.complaints == []


def test_the_token_is_asked_for_once(scan: Path, tmp_path: Path) -> None:
    with (
        server(
            *(tmp_path / 'out', '--precision', 'fp32', '--score-thr', '0'),
            environ={'LUNGDET_TOKEN': TOKEN},
        ) as live,
        browser_page(f'{live.address}/', tmp_path / 'profile') as page,
    ):
        wait_for(page, "!document.getElementById('unlock').hidden")
        keep(page, 'token')
        assert page.evaluate("document.getElementById('send').hidden")
        assert page.evaluate('document.activeElement.id') == 'token'
        page.evaluate(
            "document.getElementById('token').value = "
            f"'{TOKEN}'; document.querySelector('#unlock button').focus()"
        )
        page.press('Enter')
        wait_for(page, "!document.getElementById('send').hidden")
        choose(page, scan)
        wait_for(page, f"{ENTRY}.querySelectorAll('.results a').length === 3")

        page.open(page.evaluate("document.querySelector('.results a').href"))
        wait_for(page, "!!document.getElementById('slider')")
        assert page.complaints == []
    assert TOKEN not in live.log.read_text()
