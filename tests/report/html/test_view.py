from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lungdet.geometry import Geometry
from lungdet.report.html.view import (
    View,
    data_uri,
    edge_letters,
    grey,
    jpeg,
    outline_path,
    views_of,
)
from lungdet.report.pictures import Picture
from tests.report.html.scene import GRID, NODULES, ball, make_image

NODULE = NODULES[0]


def pixels(view: View) -> np.ndarray:
    content = base64.b64decode(
        view.image.removeprefix('data:image/jpeg;base64,')
    )
    return np.asarray(Image.open(BytesIO(content)))


def picture(half: tuple = (5.0, 3.0, 2.0)) -> Picture:
    (box,) = GRID.box_around([NODULE.center_mm], [[2 * v for v in half]])
    array = make_image().array
    return Picture(array, GRID, NODULE.center_mm, '', box, ball(NODULE))


def test_the_box_is_where_its_size_says_in_every_plane() -> None:
    views = views_of(picture())

    # 64 mm at 0.5 mm; sides of 10, 6, 4 mm along z, y, x around the middle
    assert [v.name for v in views] == ['axial', 'coronal', 'sagittal']
    assert [v.side for v in views] == [128, 128, 128]
    for view, (width, height) in zip(views, ((8, 12), (8, 20), (12, 20))):
        assert view.box is not None
        np.testing.assert_allclose(
            view.box,
            (64 - width / 2, 64 - height / 2, width, height),
            atol=0.01,
        )


def test_planes_show_the_right_on_the_left_and_the_head_above() -> None:
    # rods from the middle to the left, the front and the head, 15 mm long
    array = np.full((41, 41, 41), -850, np.int16)
    array[20, 20, 20:35] = array[20, 6:21, 20] = array[20:35, 20, 20] = 50
    grid = Geometry.from_parts(
        array.shape, spacing_zyx=(1, 1, 1), origin_xyz=(-20, -20, -20)
    )

    axial, coronal, sagittal = map(
        pixels, views_of(Picture(array, grid, (0.0, 0.0, 0.0), ''))
    )

    def rods(plane: np.ndarray) -> str:
        """Where bright pixels are, 10 mm from the middle."""
        at = {
            'left': plane[62:66, 44],
            'right': plane[62:66, 84],
            'top': plane[44, 62:66],
            'bottom': plane[84, 62:66],
        }
        return ' '.join(name for name, v in at.items() if v.max() > 150)

    assert rods(axial) == 'right top'  # patient's left, front
    assert rods(coronal) == 'right top'  # left, head
    assert rods(sagittal) == 'left top'  # front, head


def test_what_is_outside_the_array_is_black() -> None:
    image = make_image()
    start = Picture(image.array, GRID, tuple(GRID.origin), '')

    axial, *_ = (pixels(v) for v in views_of(start))

    assert axial[:56, :56].max() < 10  # before the first voxel
    assert axial[72:, 72:].min() > 60


def test_the_outline_is_around_the_voxels_of_the_mask() -> None:
    for view in views_of(picture()):
        points = np.array(
            [
                [float(v) for v in step.split('h')[0].split('v')[0].split()]
                for step in view.outline.split('M')[1:]
            ]
        )
        # a ball of 12 mm, 24 pixels, whose voxels reach 2 mm along z
        assert np.abs(points.mean(0) - 64).max() < 2
        assert np.abs(points - 64).max() <= 12 + 4
        assert (np.abs(points - 64).max(0) >= 8).all()


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_an_outline_has_an_edge_wherever_neighbours_differ(
    mask: np.ndarray,
) -> None:
    h, w = mask.shape
    at = lambda y, x: bool(0 <= y < h and 0 <= x < w and mask[y, x])  # noqa: E731
    across = {
        f'{x} {y}h1'
        for y in range(h + 1)
        for x in range(w)
        if at(y, x) != at(y - 1, x)
    }
    along = {
        f'{x} {y}v1'
        for y in range(h)
        for x in range(w + 1)
        if at(y, x) != at(y, x - 1)
    }

    assert {*filter(None, outline_path(mask).split('M'))} == across | along


@pytest.mark.parametrize(
    ('flips', 'letters'),
    [((), 'RLAP'), ((2,), 'LRAP'), ((1,), 'RLPA'), ((1, 2), 'LRPA')],
)
def test_letters_follow_the_directions(flips: tuple, letters: str) -> None:
    grid = GRID
    for axis in flips:
        grid = grid.flip(axis)

    assert ''.join(edge_letters(grid, 0)) == letters


def test_letters_of_an_oblique_grid_name_the_nearest_side() -> None:
    cos, sin = np.cos(0.4), np.sin(0.4)
    grid = Geometry.from_parts(
        GRID.shape,
        spacing_zyx=(2, 1, 1),
        origin_xyz=(0, 0, 0),
        direction=[[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]],
    )

    assert ''.join(edge_letters(grid, 1)) == 'RLHF'


def test_grey_is_the_lung_window() -> None:
    # level -600, width 1500: black at -1350, white at 150
    hu = np.array([-3000, -1350, -600, 150, 3000])
    assert grey(hu).tolist() == [0, 0, 128, 255, 255]


def test_a_picture_survives_its_file() -> None:
    plane = np.tile(np.arange(0, 256, 4, np.uint8), (64, 1))

    uri = data_uri(jpeg(plane))

    back = np.asarray(
        Image.open(BytesIO(base64.b64decode(uri.partition(',')[2])))
    )
    assert np.abs(back.astype(int) - plane).max() <= 6
