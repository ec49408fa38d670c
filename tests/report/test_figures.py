from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry
from lungdet.report.figures import picture_sheet
from lungdet.report.pictures import (
    Picture,
    detection_picture,
    nodule_picture,
)
from lungdet.structures import CaseNodule, Detection

GRID = Geometry.from_parts(
    (30, 40, 50), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, 6, 7)
)
IMAGE = np.zeros(GRID.shape)


def world(index_zyx: tuple[float, float, float]) -> tuple:
    return tuple(GRID.to_world(np.array([index_zyx]))[0].tolist())


def test_box_is_drawn_around_the_detection_in_every_plane() -> None:
    detection = Detection(world((10, 20, 30)), 0.5, size_mm=(8.0, 8.0, 8.0))

    figure = picture_sheet([detection_picture(IMAGE, GRID, detection)])

    half = {'z': 2, 'y': 4, 'x': 8}  # 4 mm in voxels of 2, 1, 0.5 mm
    middle = {'z': 10, 'y': 20, 'x': 30}
    for axes, (rows, columns) in zip(figure.axes, ('yx', 'zx', 'zy')):
        x, y = axes.lines[0].get_data()
        assert (min(x), max(x)) == (
            middle[columns] - half[columns],
            middle[columns] + half[columns],
        )
        assert (min(y), max(y)) == (
            middle[rows] - half[rows],
            middle[rows] + half[rows],
        )
    # axial planes have the back below, the others the head above
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]
    assert figure.axes[1].get_ylim()[0] < figure.axes[1].get_ylim()[1]
    assert figure.axes[0].get_ylabel() == 'score 0.50\n8.0 mm'


def test_the_mask_of_a_detection_is_outlined() -> None:
    mask = np.ones((2, 3, 4), dtype=bool)
    detection = Detection(
        world((10, 20, 30)), 0.5, mask_box=(9, 19, 28, 11, 22, 32), mask=mask
    )

    picture = detection_picture(IMAGE, GRID, detection)

    assert picture.outline.sum() == mask.sum()
    assert picture.outline[9:11, 19:22, 28:32].all()
    figure = picture_sheet([picture])
    assert all(axes.collections for axes in figure.axes)


def test_a_nodule_shows_the_box_that_was_annotated() -> None:
    nodule = CaseNodule(
        2, world((10, 20, 30)), 9.9, (8, 12, 26, 12, 30, 32), has_mask=True
    )
    labels = np.zeros(GRID.shape, np.uint8)
    labels[9, 19, 28], labels[0, 0, 0] = 2, 1

    picture = nodule_picture(IMAGE, GRID, nodule, labels)

    assert np.argwhere(picture.outline).tolist() == [[9, 19, 28]]
    # voxel i is drawn from i - 0.5 to i + 0.5
    sides = {'z': (7.5, 11.5), 'y': (11.5, 29.5), 'x': (25.5, 31.5)}
    figure = picture_sheet([picture])
    for axes, (rows, columns) in zip(figure.axes, ('yx', 'zx', 'zy')):
        x, y = axes.lines[0].get_data()
        assert (min(x), max(x)) == sides[columns]
        assert (min(y), max(y)) == sides[rows]


def test_a_point_without_a_size_has_a_cross_at_its_voxel() -> None:
    picture = Picture(IMAGE, GRID, world((10, 20, 30)), 'here')

    figure = picture_sheet([picture], 'one point')

    at = [axes.lines[0].get_xydata().tolist() for axes in figure.axes]
    assert at == [[[30, 20]], [[30, 10]], [[20, 10]]]
    assert figure.axes[0].get_ylabel() == 'here'


def test_a_sheet_of_no_picture_is_a_figure_all_the_same() -> None:
    assert len(picture_sheet([], 'nothing').axes) == 3


def test_a_picture_shows_the_whole_box() -> None:
    """32 mm to each side, and more where the nodule is larger."""
    for size_mm, half_mm in ((8.0, 32.0), (80.0, 50.0)):
        detection = Detection(
            world((10, 20, 30)), 0.5, size_mm=(8.0, size_mm, 8.0)
        )

        figure = picture_sheet([detection_picture(IMAGE, GRID, detection)])

        low, high = figure.axes[0].get_xlim()
        np.testing.assert_allclose((high - low) * 0.5 / 2, half_mm)
        bottom, top = figure.axes[0].get_ylim()
        np.testing.assert_allclose(abs(top - bottom) / 2, half_mm)
