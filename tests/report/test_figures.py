from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lungdet.evaluation import evaluate_froc
from lungdet.geometry import Geometry
from lungdet.report.figures import Place, nodule_sheet, place_sheet
from lungdet.report.froc_figure import froc_figure


def test_box_is_drawn_around_the_nodule_in_every_plane() -> None:
    grid = Geometry.from_parts(
        (30, 40, 50), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, 6, 7)
    )
    (center,) = grid.to_world(np.array([[10.0, 20, 30]]))
    nodule = SimpleNamespace(
        center_mm=tuple(center), diameter_mm=8.0, has_mask=False
    )

    figure = nodule_sheet(np.zeros(grid.shape), grid, [nodule])

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


def test_a_nodule_with_its_own_box_shows_that_one() -> None:
    grid = Geometry.from_parts(
        (30, 40, 50), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, 6, 7)
    )
    (center,) = grid.to_world(np.array([[10.0, 20, 30]]))
    nodule = SimpleNamespace(
        center_mm=tuple(center),
        diameter_mm=9.9,
        box=(8, 12, 26, 12, 30, 32),
        has_mask=False,
    )

    figure = nodule_sheet(np.zeros(grid.shape), grid, [nodule])

    # voxel i is drawn from i - 0.5 to i + 0.5
    sides = {'z': (7.5, 11.5), 'y': (11.5, 29.5), 'x': (25.5, 31.5)}
    for axes, (rows, columns) in zip(figure.axes, ('yx', 'zx', 'zy')):
        x, y = axes.lines[0].get_data()
        assert (min(x), max(x)) == sides[columns]
        assert (min(y), max(y)) == sides[rows]


def test_a_place_without_a_size_has_a_cross_at_its_voxel() -> None:
    grid = Geometry.from_parts(
        (30, 40, 50), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, 6, 7)
    )
    (center,) = grid.to_world(np.array([[10.0, 20, 30]]))
    place = Place(np.zeros(grid.shape), grid, tuple(center), None, 'here')

    figure = place_sheet([place], 'one place')

    at = [axes.lines[0].get_xydata().tolist() for axes in figure.axes]
    assert at == [[[30, 20]], [[30, 10]], [[20, 10]]]
    assert figure.axes[0].get_ylabel() == 'here'


def test_froc_figure_says_how_much_it_rests_on() -> None:
    nodule = {'a': (np.zeros((1, 3)), np.array([8.0]))}
    result = evaluate_froc(
        nodule, {}, {'a': (np.zeros((1, 3)), np.array([0.9]))}, ['a', 'b']
    )

    figure = froc_figure({'run': result}, caveats=['scans were seen before'])

    assert figure._supxlabel.get_text() == 'scans were seen before'
    assert figure.axes[0].get_title() == '2 scans, 1 nodules'
    assert 'CPM 1.000' in figure.axes[0].get_legend().texts[0].get_text()
