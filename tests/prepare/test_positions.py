from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.image import load_volume
from lungdet.io.luna16 import read_annotations
from lungdet.prepare.positions import (
    count_fits,
    in_air,
    nodule_like,
    readings,
)
from lungdet.structures import Annotation, Volume

RAS = 'x and y with the other sign (RAS)'


def lung_with_nodules(
    rng: np.random.Generator, number: int = 6
) -> tuple[Volume, list[Annotation]]:
    """Noisy lung in a wall of tissue, with bright spheres."""
    shape = (40, 70, 80)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(2.5, 1.5, 1.25), origin_xyz=(-45, -70, -200)
    )
    hu = rng.normal(-850, 40, shape)
    hu[:, :12] = hu[:, -12:] = 40
    low, high = np.array([5, 20, 8]), np.array([35, 50, 72])
    points = geometry.to_world(rng.uniform(low, high, (number, 3)))
    sizes = rng.uniform(5, 12, number)
    grid = geometry.to_world(np.argwhere(np.ones(shape)))
    for point, size in zip(points, sizes):
        inside = np.linalg.norm(grid - point, axis=1) < size / 2
        hu.reshape(-1)[inside] = 30
    rows = [
        Annotation((x, y, z), float(size))
        for (x, y, z), size in zip(points.tolist(), sizes)
    ]
    return Volume(hu.astype(np.int16), geometry, 'a'), rows


def centers(rows: list[Annotation]) -> np.ndarray:
    return np.array([row.center_mm for row in rows])


def test_spheres_in_lung_are_like_nodules_and_their_mirror_is_not() -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(0))
    index = volume.geometry.to_index(centers(rows))
    sizes = np.array([row.diameter_mm for row in rows])

    assert nodule_like(volume, index, sizes).all()
    assert not nodule_like(volume, index + 1000, sizes).any()
    wall = np.array([[20.0, 4.0, 40.0]])
    assert not nodule_like(volume, wall, np.array([8.0])).any()


def test_a_table_in_ras_fits_when_it_is_read_so() -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(1))
    written = [
        Annotation((-x, -y, z), row.diameter_mm)
        for row in rows
        for x, y, z in [row.center_mm]
    ]

    tried, as_given, by_reading = count_fits(volume, written)

    assert tried == 6 and as_given < 4
    assert by_reading[RAS] == 6
    assert max(by_reading, key=by_reading.__getitem__) == RAS


def test_rows_without_size_and_large_masses_are_not_tried() -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(2), 2)
    odd = [Annotation((0, 0, 0), None), Annotation((0, 0, -150), 90.0)]

    assert count_fits(volume, [*rows, *odd])[:2] == (2, 2)
    assert count_fits(volume, odd) == (0, 0, {})


def test_centres_in_air_are_named() -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(3), 2)
    x, y, z = volume.geometry.to_world(np.array([[20.0, 60, 40]]))[0]
    hollow = volume.array.copy()
    hollow[15:26, 55:66, 30:51] = -1000
    air = Annotation((float(x), float(y), float(z)), 6.0)

    (caveat,) = in_air(Volume(hollow, volume.geometry, 'a'), [*rows, air])

    assert caveat.startswith('nodule 3 at (')
    assert 'lies in air (-1000 HU)' in caveat
    assert in_air(volume, rows) == [] and in_air(volume, []) == []


def test_readings_of_a_scan_that_was_turned_when_it_was_loaded() -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(4), 3)
    n = np.array(volume.geometry.shape)
    turned = volume.geometry.transformed(
        np.diag([1.0, -1.0, -1.0]), (n - 1) / 2, volume.geometry.shape
    )
    volume = Volume(volume.array, volume.geometry, 'a', [], turned)
    index = turned.to_index(centers(rows))

    by_name = readings(volume)

    wanted = volume.geometry.to_index(centers(rows))
    for name, written in {
        'voxels x, y, z': index[:, ::-1],
        'voxels z, y, x': index,
        'mm from the first voxel': (index * turned.spacing)[:, ::-1],
    }.items():
        np.testing.assert_allclose(by_name[name](written), wanted, atol=1e-9)


def test_every_real_nodule_is_like_one(test_data: Path) -> None:
    """14 nodules of seven scans; mirrored or turned at most six are."""
    fits, mirrored, total = 0, 0, 0
    for part in ('luna16-mini', 'luna16-more'):
        for uid, rows in read_annotations(
            test_data / part / 'annotations.csv'
        ).items():
            (path,) = [
                *(test_data / part).glob(f'subset*/{uid}.mhd'),
                *(test_data / part).glob(f'subset*-dicom/{uid}'),
            ]
            volume = load_volume(path)
            tried, as_given, by_reading = count_fits(volume, rows)
            total, fits = total + tried, fits + as_given
            mirrored += by_reading[RAS]
            assert in_air(volume, rows) == []

    assert total == fits == 14
    assert mirrored <= 4


@pytest.mark.parametrize('name', ['x', 'y', 'z'])
def test_reading_a_mirrored_axis_twice_gives_the_axis(name: str) -> None:
    volume, rows = lung_with_nodules(np.random.default_rng(5), 2)
    points = centers(rows)
    read = readings(volume)[f'{name} with the other sign']
    signs = np.where(np.array(['x', 'y', 'z']) == name, -1, 1)

    np.testing.assert_allclose(
        read(points * signs), volume.geometry.to_index(points)
    )
