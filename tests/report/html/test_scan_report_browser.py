"""The page in Chromium: what is drawn where, and what keys and taps do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lungdet.report.html.scan_report import scan_page
from tests.browser import Page, browser_page
from tests.report.html.scene import (
    GRID,
    HOSTILE,
    NODULES,
    REFERENCE,
    make_image,
    make_result,
)

pytestmark = pytest.mark.slow
SLIDER = "Number(document.getElementById('slider').value)"
SHOWN = (
    "document.querySelectorAll('#detections tbody tr:not([hidden])').length"
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Page]:
    path = tmp_path / 'report.html'
    result = make_result(HOSTILE)
    path.write_text(
        scan_page(result, make_image(), reference=REFERENCE), encoding='utf-8'
    )
    with browser_page(path, tmp_path / 'profile') as page:
        yield page
        assert page.requests == [path.resolve().as_uri()]
        assert page.complaints == []


def crop(page: Page, selector: str) -> np.ndarray:
    """The pixels of an element, scrolled to."""
    box = page.evaluate(
        f"""(() => {{
          const one = document.querySelector({selector!r});
          one.scrollIntoView({{block: 'center'}});
          const box = one.getBoundingClientRect();
          return [box.x, box.y, box.width, box.height];
        }})()"""
    )
    x, y, width, height = (round(v) for v in box)
    return page.screenshot()[y : y + height, x : x + width].astype(int)


def boxed(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """First and last row, first and last column of a colour."""
    near = np.abs(pixels - color).max(-1) < 60
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


def bright(pixels: np.ndarray) -> np.ndarray:
    """The same of the nodule: grey of 50 HU in the lung window."""
    grey = (pixels.min(-1) > 200) & (np.ptp(pixels, axis=-1) < 12)
    rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


def test_the_box_is_drawn_where_the_nodule_is(opened: Page) -> None:
    for plane in range(1, 4):
        selector = f'.card[data-number="1"] .picture:nth-of-type({plane})'
        pixels = crop(opened, selector)
        middle = pixels[
            pixels.shape[0] // 4 : -pixels.shape[0] // 4,
            pixels.shape[1] // 4 : -pixels.shape[1] // 4,
        ]
        # 64 mm fill the picture; voxels are 2 mm along z
        mm = pixels.shape[0] / 64
        gap = boxed(middle, (61, 220, 91)) - bright(middle)
        assert np.abs(gap).max() <= 2.5 * mm + 2, (plane, gap)
        assert (gap[[0, 2]] <= 1).all() and (gap[[1, 3]] >= -1).all()


def test_the_slider_shows_slices_with_their_boxes(opened: Page) -> None:
    for number, nodule in enumerate(NODULES, start=1):
        (index,) = GRID.to_index(np.array([nodule.center_mm]))
        picture = round(GRID.shape[0] - 1 - index[0])
        opened.evaluate(
            f"""(() => {{
              const one = document.getElementById('slider');
              one.value = {picture};
              one.dispatchEvent(new Event('input'));
              return document.getElementById('slice').decode();
            }})()"""
        )
        ring = opened.evaluate(
            """(() => {
              const e = document.querySelector('#boxes ellipse');
              return ['cx', 'cy', 'rx'].map((k) => Number(e.getAttribute(k)));
            })()"""
        )
        labels = opened.evaluate(
            "[...document.querySelectorAll('#boxes text')]"
            '.map((one) => one.textContent)'
        )
        assert f'N{number}' in labels
        x, y = (index[2] + 0.5) * 0.8, index[1] + 0.5
        radius = (nodule.diameter_mm or 0) / 2 + 2
        np.testing.assert_allclose(ring, (x, y, radius), atol=0.1)
        pixels = crop(opened, '#cine .picture')
        scale = pixels.shape[1] / 64
        at = pixels[round(y * scale), round(x * scale)]
        beside = pixels[round(y * scale), round((x + radius + 3) * scale)]
        assert at.min() > 200 > 130 > beside.max()
        caption = opened.evaluate(
            "document.getElementById('caption').textContent"
        )
        slice_number = round(index[0]) + 1
        instance = 101 - slice_number
        assert caption.startswith(
            f'slice {slice_number} of 30, instance {instance}, '
        )


def test_keys_move_through_slices_and_detections(opened: Page) -> None:
    opened.evaluate("document.querySelector('#cine .picture').focus()")
    start = opened.evaluate(SLIDER)
    moves = (
        *(('ArrowRight', 1), ('ArrowDown', 2), ('ArrowLeft', 1)),
        *(('ArrowUp', 0), ('PageDown', 10), ('PageUp', 0)),
    )
    for key, moved in moves:
        opened.press(key)
        assert opened.evaluate(SLIDER) == start + moved, key
    opened.press('End')
    assert opened.evaluate(SLIDER) == 29
    opened.press('Home')
    assert opened.evaluate(SLIDER) == 0
    chosen = "document.querySelector('tr.chosen').dataset.number"
    opened.press('n')
    assert (opened.evaluate(SLIDER), opened.evaluate(chosen)) == (start, '1')
    opened.press('n')
    assert opened.evaluate(chosen) == '2'
    opened.press('p')
    opened.press('p')
    assert opened.evaluate(chosen) == '4'
    opened.press(' ')
    assert opened.evaluate("document.getElementById('play').textContent") == (
        'pause'
    )
    opened.press(' ')


def test_the_table_is_sorted_and_filtered(opened: Page) -> None:
    numbers = (
        "[...document.querySelectorAll('#detections tbody tr')]"
        '.map((row) => row.dataset.number).join()'
    )
    head = "document.querySelectorAll('#detections th button')"
    opened.evaluate(f'{head}[3].click()')  # by diameter, unknown last
    assert opened.evaluate(numbers) == '3,2,1,4'
    opened.evaluate(f'{head}[1].focus()')
    opened.press('Enter')
    assert opened.evaluate(numbers) == '4,3,2,1'
    opened.press('Enter')
    assert opened.evaluate(numbers) == '1,2,3,4'
    assert (
        opened.evaluate("document.querySelectorAll('th[aria-sort]').length")
        == 1
    )

    opened.evaluate(
        """(() => { const one = document.getElementById('filter');
        one.value = 0.5; one.dispatchEvent(new Event('input')); })()"""
    )

    assert opened.evaluate(SHOWN) == 2
    assert (
        opened.evaluate(
            "document.querySelectorAll('.card[data-score]:not([hidden])').length"
        )
        == 2
    )
    assert (
        opened.evaluate("document.getElementById('shown').textContent")
        == '0.50: 2 of 4'
    )


def test_a_number_leads_to_its_slice(opened: Page) -> None:
    opened.evaluate(
        'document.querySelector(\'tr[data-number="2"] button\').click()'
    )

    z = GRID.to_index(np.array([NODULES[1].center_mm]))[0, 0]
    assert opened.evaluate(SLIDER) == round(GRID.shape[0] - 1 - z)
    assert opened.evaluate(
        '(({top, bottom}) => top >= 0 && bottom <= innerHeight)'
        "(document.querySelector('#cine input').getBoundingClientRect())"
    )


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_a_phone_shows_it_without_scrolling_sideways(
    opened: Page, scheme: str
) -> None:
    opened.resize(360, 740)
    opened.media(scheme=scheme)

    width = 'document.documentElement.scrollWidth'
    assert opened.evaluate(width) == 360
    table = "document.querySelector('#detections').parentElement"
    assert opened.evaluate(f'{table}.scrollWidth == {table}.clientWidth')
    hint = "document.querySelector('.narrow').offsetHeight"
    assert opened.evaluate(hint) > 0
    small = opened.evaluate(
        "[...document.querySelectorAll('button, input')].filter((one) => "
        'one.offsetParent && one.getBoundingClientRect().height < 24).length'
    )
    assert small == 0
    ground = opened.screenshot()[-1, 1].mean()
    assert (ground > 200) == (scheme == 'light')


def test_a_turned_phone_shows_all_columns(opened: Page) -> None:
    """As the hint on an upright one says."""
    opened.resize(667, 375)

    assert opened.evaluate('document.documentElement.scrollWidth') == 667
    table = "document.querySelector('#detections').parentElement"
    assert opened.evaluate(f'{table}.scrollWidth == {table}.clientWidth')
    more = "document.querySelector('#detections .more').offsetWidth"
    assert opened.evaluate(more) > 0


def test_in_print_there_are_pictures_and_no_controls(opened: Page) -> None:
    opened.media('print', 'dark')
    opened.resize(718, 1000)  # of A4 with margins

    visible = (
        '[...document.querySelectorAll({!r})].some((one) => '
        "getComputedStyle(one).display !== 'none' && one.offsetParent)"
    )
    assert not opened.evaluate(visible.format('.controls'))
    assert opened.evaluate(visible.format('.card img'))
    assert opened.evaluate('document.documentElement.scrollWidth') == 718
    assert opened.screenshot()[-1, 1].min() > 200


def test_the_volume_viewer_draws_the_scan_without_the_network(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'report.html'
    page_text = scan_page(make_result(), make_image(), viewer='niivue')
    path.write_text(page_text, encoding='utf-8')

    with browser_page(path, tmp_path / 'profile') as page:
        ready = (
            'new Promise((done) => { const look = () => '
            'document.documentElement.dataset.volume ? done(true) : '
            'setTimeout(look, 100); look(); })'
        )
        assert page.evaluate(ready)
        pixels = crop(page, '#canvas')

        red = (pixels[..., 0] > 150) & (pixels[..., 1] < 130)
        assert red.sum() > 200  # the detection at the cross
        assert page.requests == [path.resolve().as_uri()]
        assert page.complaints == []
