from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import GeometryError
from lungdet.geometry import (
    Geometry,
    axis_positions,
    interpolate_axis,
    isotropic_geometry,
    resample_label_crop,
    resample_nearest,
)

TILTED = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
SPACING = st.floats(0.3, 5.0)


def tilted_grid() -> Geometry:
    return Geometry.from_parts(
        (6, 9, 11),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-3, 4, 5),
        direction=TILTED,
    )


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(SPACING, SPACING, SPACING),
    wanted=st.floats(0.4, 3.0),
)
def test_grid_follows_the_rule_on_every_axis(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    wanted: float,
) -> None:
    source = Geometry.from_parts(
        shape, spacing_zyx=spacing, origin_xyz=(7, -8, 9), direction=TILTED
    )

    target = isotropic_geometry(source, wanted)

    np.testing.assert_allclose(target.spacing, wanted, rtol=1e-12)
    np.testing.assert_allclose(target.direction, TILTED, atol=1e-12)
    for axis, positions in enumerate(axis_positions(source, target)):
        scale = spacing[axis] / wanted
        size = target.shape[axis]
        assert 0 <= size - shape[axis] * scale + 2e-6 < 1 + 1e-5
        literal = [(j + 0.5) / scale - 0.5 for j in range(size)]
        np.testing.assert_allclose(positions, literal, atol=1e-9)
    edge = source.to_world(np.full((1, 3), -0.5))
    np.testing.assert_allclose(target.to_index(edge), -0.5, atol=1e-9)


@pytest.mark.parametrize('spacing', [0.0, -1.0, np.nan, np.inf])
def test_grid_refuses_a_spacing_that_is_none(spacing: float) -> None:
    with pytest.raises(GeometryError, match='needs a positive number'):
        isotropic_geometry(tilted_grid(), spacing)


def test_interpolation_along_an_axis_hand_worked() -> None:
    array = np.array([[0, 100], [10, 200], [40, 0]], dtype=np.int16)

    rows = interpolate_axis(array, np.array([-1.0, 0.5, 1.25, 9]), 0)
    single = interpolate_axis(array[:1], np.array([0.0, 0.7]), 0)

    assert rows.tolist() == [[0, 100], [5, 150], [17.5, 150], [40, 0]]
    assert rows.dtype == np.float32
    assert single.tolist() == [[0, 100], [0, 100]]


@given(
    values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=6),
    positions=st.lists(st.floats(-3, 9), max_size=5),
)
def test_interpolation_is_numpys(values: list, positions: list) -> None:
    interpolated = interpolate_axis(np.array(values), np.array(positions), 0)

    wanted = np.interp(positions, np.arange(len(values)), values)
    np.testing.assert_allclose(interpolated, wanted, rtol=1e-5, atol=1e-2)


def as_itk(array: np.ndarray, grid: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1].tolist())
    image.SetOrigin(grid.origin.tolist())
    image.SetDirection(grid.direction.ravel().tolist())
    return image


@pytest.mark.parametrize('turned', [False, True])
def test_nearest_labels_are_simpleitks(turned: bool) -> None:
    source = tilted_grid()
    target = Geometry.from_parts(
        (14, 11, 12),
        spacing_zyx=(1.311, 0.913, 0.7137),  # no voxel half way
        origin_xyz=(-7.03, 3.17, 4.29),
        direction=np.eye(3) if turned else np.array(TILTED)[:, [1, 0, 2]],
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 9, source.shape).astype(np.uint8)

    resampled = resample_nearest(labels, source, target)

    wanted = sitk.GetArrayFromImage(
        sitk.Resample(
            as_itk(labels, source),
            as_itk(np.zeros(target.shape, np.uint8), target),
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
        )
    )
    assert 0 < (resampled == 0).mean() < 1
    np.testing.assert_array_equal(resampled, wanted)


@pytest.mark.parametrize('axes', [(0, 1, 2), (2, 0, 1)])
def test_nearest_labels_between_whole_grids_move_voxels(axes: tuple) -> None:
    source = tilted_grid()
    labels = np.arange(np.prod(source.shape)).reshape(source.shape)

    resampled = resample_nearest(
        labels, source, source.flip(0).transpose(axes)
    )

    np.testing.assert_array_equal(resampled, labels[::-1].transpose(axes))


@pytest.mark.parametrize('turn', [np.eye(3), TILTED])
def test_the_edge_repeats_where_nothing_fills(turn: object) -> None:
    source = Geometry.from_parts(
        (2, 2, 2), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    labels = np.arange(8).reshape(2, 2, 2)
    target = Geometry.from_parts(
        (4, 4, 4), spacing_zyx=(1, 1, 1), origin_xyz=(-1, -1, -1)
    )

    resampled = resample_nearest(labels, source, target, fill=None)

    np.testing.assert_array_equal(resampled, np.pad(labels, 1, mode='edge'))


@pytest.mark.parametrize(
    'step',
    [np.eye(3), np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]])],
    ids=['along the axes', 'turned'],
)
def test_a_label_half_way_is_the_upper_one_wherever_a_crop_starts(
    step: np.ndarray,
) -> None:
    source = Geometry.from_parts(
        (8, 8, 8), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    labels = np.arange(8**3).reshape(source.shape)
    target = source.transformed(step, np.array([4.0, 4, 4]), (4, 4, 4))
    z, y, x = 4 + np.einsum('ab,bzyx->azyx', step, np.indices((4, 4, 4)) - 1.5)
    assert set((z % 1).ravel()) == {0.5} and 0.5 in (y % 1) and 0.5 in (x % 1)
    upper = labels[tuple(np.floor(np.stack([z, y, x]) + 0.5).astype(int))]

    for start in ((0, 0, 0), (1, 1, 1), (2, 1, 0)):
        part = labels[tuple(slice(k, None) for k in start)]
        grid = source.crop(start, part.shape)
        resampled = resample_nearest(part, grid, target)
        np.testing.assert_array_equal(resampled, upper)


def test_a_label_crop_lands_in_its_region_alone() -> None:
    case = Geometry.from_parts(
        (12, 14, 16), spacing_zyx=(1, 1, 1), origin_xyz=(3, -2, 5)
    )
    scan = Geometry.from_parts(
        (9, 20, 22),
        spacing_zyx=(1.7, 0.7, 0.9),
        origin_xyz=(6, -6, 4),
        direction=TILTED,
    )
    crop = np.random.default_rng(0).integers(0, 5, (5, 6, 7))
    grid = case.crop((3, 4, 5), crop.shape)
    painted = np.zeros(scan.shape, dtype=crop.dtype)

    region, part = resample_label_crop(crop, grid, scan)
    painted[region] = part

    assert part.size < painted.size / 2
    np.testing.assert_array_equal(painted, resample_nearest(crop, grid, scan))


def test_a_label_crop_beside_the_grid_is_empty() -> None:
    grid = tilted_grid()

    region, part = resample_label_crop(
        np.ones((2, 2, 2)), grid.crop((40, 0, 0), (2, 2, 2)), grid
    )

    assert part.size == 0
    assert np.zeros(grid.shape)[region].shape == part.shape
