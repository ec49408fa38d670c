"""What the OHIF viewer shows of an examination that lungdet stored to."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_fill_holes,
    find_objects,
    label,
)

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.apis.store_results import STORED_FORMATS
from lungdet.exporters import dicom_seg
from lungdet.exporters.dicom_source import SliceMask, masks_on_slices
from lungdet.io.results import read_result
from lungdet.structures import Detection, SeriesResult
from tests.browser import Page, browser_page
from tests.dicomweb.ohif import ohif
from tests.dicomweb.orthanc import orthanc, send
from tests.dicomweb.phantom_series import (
    SERIES,
    STUDY,
    write_phantom_series,
)

pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")
pytestmark = pytest.mark.slow
WAIT_SECONDS = 120.0
LINE_PIXELS = 2.5  # outlines are drawn on the voxels' edges
SIZE = {'width': 1200, 'height': 750}
SHOTS = 'LUNGDET_SCREENSHOTS'  # folder to keep what was seen
THUMBNAILS = '[data-cy^=study-browser-thumbnail]'
OPEN = """
[...document.querySelectorAll('{thumbnails}')]
  .filter(one => one.innerText.startsWith('{kind}'))
  .map(one => one.firstElementChild.dispatchEvent(
    new MouseEvent('dblclick', {{bubbles: true}}))).length
"""
BUTTON = """
[...document.querySelectorAll('button, a')]
  .filter(one => one.innerText.trim() === '{text}')
  .map(one => one.click()).length
"""
PANE = """(() => {
  const box = document.querySelector('[data-cy=viewport-pane] canvas')
    .getBoundingClientRect();
  return [box.top, box.bottom, box.left, box.right].map(Math.round);
})()"""
LINES = """
[...document.querySelectorAll('[data-cy=viewport-pane] svg.svg-layer line')]
  .map(one => ['x1', 'y1', 'x2', 'y2'].map(end => +one.getAttribute(end)))
"""
NEXT = """
(arrow => arrow?.dispatchEvent(new MouseEvent('click', {bubbles: true})))(
  [...document.querySelectorAll('div.shrink-0.cursor-pointer > svg')].at(-1))
"""
TEXT = 'document.body.innerText'


class Viewer(NamedTuple):
    """OHIF's address, and what was stored.

    The SEG lacks the second nodule, as if its mask were between two slices.

    Attributes:
        address: OHIF's.
        result: The detections.
        segments: Masks of the SEG, each with its slice's instance number.
    """

    address: str
    result: SeriesResult
    segments: list[tuple[int | None, SliceMask]]


@pytest.fixture(scope='module')
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """OHIF in front of an Orthanc with a phantom and its results."""
    folder = tmp_path_factory.mktemp('ohif')

    segments: list[tuple[int | None, SliceMask]] = []

    def all_but_second(result: SeriesResult) -> list[SliceMask]:
        masks = [one for one in masks_on_slices(result) if one.number != 2]
        segments[:] = [
            (result.slices[one.slice_index].instance_number, one)
            for one in masks
        ]
        return masks

    (folder / 'orthanc').mkdir()
    with (
        pytest.MonkeyPatch.context() as patch,
        orthanc(folder / 'orthanc') as server,
        ohif(folder, server) as address,
    ):
        write_phantom_series(folder / 'ct', folder / 'luna16')
        send(server, folder / 'ct')
        inferencer = NoduleInferencer(device='cpu', precision='fp32')
        where = f'{server}/dicom-web/studies/{STUDY}'
        scans, _ = find_scans([where], folder / 'out')
        options = InferOptions(('json', *STORED_FORMATS), store=True)
        patch.setattr(dicom_seg, 'masks_on_slices', all_but_second)
        run = ScanRun(inferencer, scans, folder / 'out', options)
        run.run()
        (outcome,) = run.outcomes
        assert outcome.state == 'done' and outcome.detections
        result = read_result(folder / 'out' / SERIES / 'result.json')
        yield Viewer(address, result, segments)


@contextmanager
def opened(viewer: Viewer, profile: Path) -> Iterator[Page]:
    """The examination's page, with its CT."""
    address = f'{viewer.address}/viewer?StudyInstanceUIDs={STUDY}'
    with browser_page(address, profile, **SIZE) as page:
        wait_for(page, f"{TEXT}.includes('(1/66)')")
        wait_for(page, BUTTON.format(text='Skip all'))  # the tour
        yield page


def open_series(page: Page, kind: str) -> None:
    wait_for(page, OPEN.format(thumbnails=THUMBNAILS, kind=kind))


def wait_for(page: Page, code: str) -> Any:
    """The value of an expression, once it is true."""
    ends = time.monotonic() + WAIT_SECONDS
    while not (value := page.evaluate(code)):
        assert time.monotonic() < ends, code
        time.sleep(0.2)
    return value


def viewport(page: Page, name: str) -> np.ndarray:
    """What the viewport shows, and a copy of the page for people."""
    folder = os.environ.get(SHOTS)
    path = None if folder is None else Path(folder, f'{name}.png')
    shot = page.screenshot(path).astype(int)
    top, bottom, left, right = page.evaluate(PANE)
    return shot[top:bottom, left:right]


def wait_until_seen(page: Page, name: str, wanted: Any) -> np.ndarray:
    """The viewport, once it looks as wanted."""
    ends = time.monotonic() + WAIT_SECONDS
    while not wanted(view := viewport(page, name)):
        assert time.monotonic() < ends, f'{name} is not shown'
        time.sleep(0.5)
    return view


def is_chest(view: np.ndarray) -> bool:
    """Bright tissue around the dark of two lungs, in grey."""
    grey = np.ptp(view, axis=2) < 12
    levels = view.mean(2)
    height, width = levels.shape
    middle = levels[height // 3 : -height // 3, width // 4 : -width // 4]
    return (
        grey.mean() > 0.95
        and (middle > 150).mean() > 0.2
        and (middle < 90).mean() > 0.05
    )


def red_of(view: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(view, 2, 0)
    return (red > green + 60) & (red > blue + 60)


def lungs_of(view: np.ndarray) -> np.ndarray:
    """The two largest dark areas that tissue surrounds, filled."""
    air, _ = label(view.mean(2) < 90)
    rim = {*air[0], *air[-1], *air[:, 0], *air[:, -1], 0}
    sizes = np.bincount(air.ravel())
    sizes[[*rim]] = 0
    lungs = np.isin(air, np.argsort(sizes)[-2:])
    return binary_fill_holes(binary_closing(lungs, iterations=4))


def test_ct_seg_and_sr_are_there(viewer: Viewer, tmp_path: Path) -> None:
    with opened(viewer, tmp_path / 'profile') as page:
        listed = page.evaluate(
            f"[...document.querySelectorAll('{THUMBNAILS}')]"
            '.map(one => one.innerText)'
        )
        kinds = sorted(text.split()[0] for text in listed)
        assert kinds == ['CT', 'SEG', 'SR']
        named = [text for text in listed if 'lungdet: Research use' in text]
        assert len(named) == 2

        open_series(page, 'SEG')
        wait_for(page, BUTTON.format(text='Yes'))  # to open it
        view = wait_until_seen(page, 'seg', lambda v: red_of(v).any())

        outlines, _ = label(binary_dilation(red_of(view), iterations=3))
        boxes = [
            box_of(red_of(view) & (outlines == number))
            for number in range(1, outlines.max() + 1)
        ]
        stored = stored_boxes(viewer, page, view)
        assert len(boxes) == len(stored)
        np.testing.assert_allclose(boxes, stored, atol=LINE_PIXELS)
        assert lungs_of(view)[red_of(view)].all()
        assert is_chest(np.where(red_of(view)[..., None], 0, view))
        # a warning, such as of a segment without a colour
        assert 'DICOM SEG import' not in page.evaluate(TEXT)
        assert_all_from(viewer, page)


def box_of(area: np.ndarray) -> list[int]:
    """First row and column of an area, and those behind its last."""
    (part,) = find_objects(area.astype(int))
    return [side.start for side in part] + [side.stop for side in part]


def stored_boxes(viewer: Viewer, page: Page, view: np.ndarray) -> list:
    """Where the SEG's masks of the slice shown lie in the viewport.

    Each as ``box_of``, in the order of their first row.
    """
    shown = re.search(r'I:(\d+) ', page.evaluate(TEXT))
    assert shown is not None
    rows, columns = viewer.result.scan_geometry.shape[1:]
    across = image_columns(view)
    size = (across.stop - across.start) / columns  # of a voxel
    origin = np.array([(view.shape[0] - rows * size) / 2, across.start])
    boxes = []
    for instance, one in viewer.segments:
        if instance == int(shown[1]):
            first = [side.start for side in one.region]
            ends = np.reshape(box_of(one.mask), (2, 2)) + first
            boxes.append((ends * size + origin).ravel())
    return sorted(boxes, key=lambda box: box[0])


def assert_all_from(viewer: Viewer, page: Page) -> None:
    """Nothing was asked of another host."""
    assert not [r for r in page.requests if not r.startswith(viewer.address)]


def image_columns(view: np.ndarray) -> slice:
    """The part of the viewport's width that the image fills."""
    filled, _ = label(np.median(view.mean(2), axis=0) > 20)
    parts = [part for (part,) in find_objects(filled)]  # edges, and the image
    return max(parts, key=lambda part: part.stop - part.start)


def test_the_report_is_drawn_on_the_ct(viewer: Viewer, tmp_path: Path) -> None:
    first, second, *_ = viewer.result.numbered()
    with opened(viewer, tmp_path / 'profile') as page:
        open_series(page, 'SR')
        assert_drawn(viewer, page, *first)
        wait_for(page, NEXT)  # the arrow
        assert_drawn(viewer, page, *second)
        # the tour may complain that it was skipped
        assert not [c for c in page.complaints if 'advanceOn' not in c]
        assert_all_from(viewer, page)


def assert_drawn(
    viewer: Viewer, page: Page, number: int, nodule: Detection
) -> None:
    """The nodule's slice with its line, and its values beside it."""
    wait_for(page, f"{TEXT}.includes('I:{nodule.instance_number} ')")
    for words in (
        f'Detection score: {nodule.score:.2f}',
        f'Volume: {nodule.volume_mm3:.2f} mm3',
        f'Diameter: {nodule.diameter_mm:.2f} mm',
    ):
        wait_for(page, f"{TEXT}.includes('{words}')")
    view = wait_until_seen(page, f'sr{number}', is_chest_with_marks)

    # the other line leads to the text
    (line,) = [one for one in page.evaluate(LINES) if one[1] == one[3]]
    ends = np.array(line).reshape(2, 2)
    columns, rows = np.rint(ends).astype(int).T
    assert lungs_of(view)[rows, columns].all()
    grid = viewer.result.scan_geometry
    across = image_columns(view)
    mm = grid.shape[2] * grid.spacing[2] / (across.stop - across.start)
    assert np.ptp(ends[:, 0]) * mm == pytest.approx(
        nodule.diameter_mm, rel=0.01
    )
    column = grid.to_index([nodule.center_mm])[0, 2] + 0.5
    assert (ends[:, 0].mean() - across.start) * mm == pytest.approx(
        column * grid.spacing[2], abs=mm
    )


def is_chest_with_marks(view: np.ndarray) -> bool:
    red, green, blue = np.moveaxis(view, 2, 0)
    # green, yellow after the first
    marks = (green > blue + 60) & (green > red - 10)
    return marks.sum() > 20 and is_chest(np.where(marks[..., None], 0, view))
