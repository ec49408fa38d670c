from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lungdet.geometry import Geometry
from lungdet.report.html import cine as module
from lungdet.report.html.cine import ScanImage, make_cine, slice_captions
from lungdet.structures import SeriesResult
from tests.report.html.scene import (
    GRID,
    NODULES,
    make_image,
    make_result,
    make_slices,
)


def pixels(content: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))))


def test_slices_run_from_head_to_feet_with_the_nodules_in_their_boxes() -> (
    None
):
    cine = make_cine(make_image(), make_result())

    assert len(cine.images) == 30
    # 0.8 mm along x become 1 mm
    assert (cine.height, cine.width) == (60, 64)
    for nodule in NODULES:
        (edges,) = GRID.sphere_box([nodule.center_mm], nodule.diameter_mm)
        box = cine.box(edges, 'N', 'nodule', None)
        z = GRID.to_index(np.array([nodule.center_mm]))[0, 0]
        middle = cine.number_of(z)
        assert middle == 29 - round(z)
        shown = pixels(cine.images[middle])
        bright = np.argwhere(shown > 128) + 0.5
        inside = (
            np.abs(bright[:, 1] - box.x - box.width / 2) <= box.width / 2 + 1
        ) & (
            np.abs(bright[:, 0] - box.y - box.height / 2) <= box.height / 2 + 1
        )
        diameter = nodule.diameter_mm
        area = np.pi * diameter**2 / 4
        assert inside.sum() == pytest.approx(area, rel=0.25)
        assert box.first < middle < box.last
        assert (box.width, box.height) == (diameter, diameter)
        column, row = (
            int(box.x + box.width / 2),
            int(box.y + box.height / 2),
        )
        bright = [
            number
            for number, one in enumerate(cine.images)
            if pixels(one)[row, column] > 128
        ]
        # the box may touch a slice at the nodule's pole
        assert bright[0] - 1 <= box.first <= bright[0]
        assert bright[-1] <= box.last <= bright[-1] + 1


def test_captions_have_the_numbers_of_the_dicom_slices() -> None:
    captions = slice_captions(make_image(), make_result(), (0, 29))

    assert captions == [
        'slice 1 of 30, instance 100, -120.0 mm',
        'slice 30 of 30, instance 71, -62.0 mm',
    ]
    unnumbered = [replace(s, instance_number=None) for s in make_slices()]
    result = replace(make_result(), slices=tuple(unnumbered))
    assert slice_captions(make_image(), result, (0,)) == [
        'slice 1 of 30, -120.0 mm'
    ]


def test_captions_count_in_the_order_of_the_file() -> None:
    """Here from the head: its slices run against the array's."""
    result = replace(make_result(), source_geometry=GRID.flip(0), slices=())

    assert slice_captions(make_image(), result, (0, 29)) == [
        'slice 30 of 30, -120.0 mm',
        'slice 1 of 30, -62.0 mm',
    ]


def test_a_prepared_case_shows_the_nearest_slice_of_the_scan() -> None:
    scan = Geometry.from_parts(
        (10, 60, 80), spacing_zyx=(5, 1, 1), origin_xyz=(-30, -20, -120)
    )
    result = replace(make_result(), source_geometry=scan, slices=())

    # 2 mm are nearest to slice 1, 4 mm to slice 2; 58 mm are beyond the last
    assert slice_captions(make_image(), result, (0, 1, 2, 29)) == [
        'slice 1 of 10, -120.0 mm',
        'slice 1 of 10, -118.0 mm',
        'slice 2 of 10, -116.0 mm',
        'slice 10 of 10, -62.0 mm',
    ]


def test_slices_of_a_scan_in_other_planes_have_no_number() -> None:
    coronal = GRID.transpose((1, 0, 2))
    result = replace(make_result(), source_geometry=coronal, slices=())

    assert slice_captions(make_image(), result, (5,)) == ['-110.0 mm']


def test_a_long_scan_is_thinned_and_says_so(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    noise = rng.integers(-1300, 100, (90, 40, 40)).astype(np.int16)
    grid = Geometry.from_parts(
        noise.shape, spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    image = ScanImage(noise, grid)
    result = SeriesResult('1', [], grid)
    whole = make_cine(image, result)
    size = sum(len(base64.b64decode(one)) for one in whole.images)
    monkeypatch.setattr(module, 'MAX_CINE_BYTES', size // 2)

    thinned = make_cine(image, result)

    step = round(len(whole.images) / len(thinned.images))
    assert step >= 2 and not whole.caveat
    assert thinned.caveat == f'one slice of {step} is shown'
    assert sum(map(len, thinned.images)) * 3 / 4 <= size // 2 * 1.05
    assert thinned.images[1] == whole.images[step]
    assert thinned.captions[1] == whole.captions[step]
    # a box in one slice stays visible
    box = thinned.box(np.array([41, 3, 5, 42, 9, 9]), '#1', 'detection', 0.5)
    assert box.first == box.last == round((89 - 41) / step)
    assert (box.x, box.y, box.width, box.height) == (5, 3, 4, 6)
