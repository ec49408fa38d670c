from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image
from lungdet.prepare import find_lungs, find_sides
from lungdet.prepare.lung_field import LungField

SHAPE, SPACING = (60, 50, 70), (4.0, 3.0, 3.0)
# world x and z of the two lungs' centres, mm
RIGHT_MM, LEFT_MM, RADII_MM = (57.0, 120.0), (153.0, 132.0), (100, 60, 42)


def two_lungs(bridge: bool = False) -> tuple[np.ndarray, Geometry]:
    """Ellipsoids, 1 at the patient's right and 2 at the left."""
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=SPACING, origin_xyz=(0, 0, 0)
    )
    index = np.indices(SHAPE).reshape(3, -1).T
    x, y, z = grid.to_world(index).T
    labels = np.zeros(len(x), np.uint8)
    for label, (cx, cz) in ((1, RIGHT_MM), (2, LEFT_MM)):
        offsets = np.stack([z - cz, y - 75, x - cx]).T / RADII_MM
        labels[(offsets**2).sum(1) < 1] = label
    labels = labels.reshape(SHAPE)
    if bridge:  # lungs that touch in front of the heart
        labels[24:34, 20:23, 25:45][labels[24:34, 20:23, 25:45] == 0] = 1
    return labels, grid


@pytest.mark.parametrize('bridge', [False, True])
@pytest.mark.parametrize('flip', [None, 0, 2])
def test_sides_and_thirds_of_drawn_lungs(
    bridge: bool, flip: int | None
) -> None:
    labels, grid = two_lungs(bridge)
    mask = labels > 0
    if flip is not None:
        mask, grid = np.flip(mask, flip), grid.flip(flip)

    sides = find_sides(LungField(mask, grid, 'computed'))

    assert sides is not None
    for side, (x, z) in (('right', RIGHT_MM), ('left', LEFT_MM)):
        # a lung is 200 mm high: thirds of 67 mm
        for height, zone in ((-40, 'lower'), (0, 'middle'), (40, 'upper')):
            reported = sides.side_and_zone((x, 75, z + height))
            assert reported == (side, zone)
        # outside the lung, and far outside the grid
        assert sides.side_and_zone((x, 75, z + 500)) == (side, 'upper')
        assert sides.side_and_zone((x, 75, z - 500)) == (side, 'lower')


@pytest.mark.parametrize('numbers', [(3, 4), (4, 3)])
def test_numbers_of_a_given_mask_part_the_lungs(
    numbers: tuple[int, int],
) -> None:
    """Which number is which lung is read from the scan."""
    labels, grid = two_lungs()
    given = np.select([labels == 1, labels == 2], numbers).astype(np.uint8)

    sides = find_sides(LungField(given > 0, grid, 'given', [], given))

    assert sides is not None
    assert sides.side_and_zone((150.0, 75, 40))[0] == 'left'
    assert sides.side_and_zone((60.0, 75, 40))[0] == 'right'


@pytest.mark.parametrize('position', [(29, 25, 34), (30, 27, 36)])
def test_a_number_that_is_a_speck_is_no_lung(
    position: tuple[int, int, int],
) -> None:
    """On a fine grid, whose thinning drops the one speck and keeps the other;
    both lungs have the same number."""
    labels, coarse = two_lungs()
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(1.0, 0.7, 0.7), origin_xyz=(0, 0, 0)
    )
    given = np.where(labels > 0, 4, 0).astype(np.uint8)
    given[position] = 3

    sides = find_sides(LungField(given > 0, grid, 'given', [], given))

    assert sides is not None
    for side, (x, z) in (('right', RIGHT_MM), ('left', LEFT_MM)):
        index = coarse.to_index([(x, 75, z)])
        center = grid.to_world(index)[0]
        assert sides.side_and_zone(tuple(center)) == (side, 'middle')


def test_a_mask_between_the_thinned_voxels_has_no_sides() -> None:
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(0.7, 0.7, 0.7), origin_xyz=(0, 0, 0)
    )
    given = np.zeros(SHAPE, np.uint8)
    given[5, 5, 5], given[5, 5, 51] = 4, 3

    assert find_sides(LungField(given > 0, grid, 'given', [], given)) is None


def test_lungs_that_are_not_known_have_no_sides() -> None:
    labels, grid = two_lungs()

    assert find_sides(LungField(labels > 0, grid, 'failed')) is None
    assert find_sides(LungField(labels == 1, grid, 'computed')) is None


def test_stacked_parts_are_not_two_lungs() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:25, 10:40, 10:60] = mask[35:55, 10:40, 10:60] = True
    _, grid = two_lungs()

    assert find_sides(LungField(mask, grid, 'computed')) is None


@pytest.mark.slow
def test_sides_of_real_lungs_are_those_of_their_masks(
    test_data: Path,
) -> None:
    """3 is the left lung there, 4 the right one, says the data's page."""
    folder = test_data / 'luna16-mini'
    agreement = []
    for mask_file in sorted((folder / 'seg-lungs-LUNA16').glob('*.mhd')):
        for scan in folder.glob(f'subset*/{mask_file.name}'):
            sides = find_sides(find_lungs(load_volume(scan)))
            assert sides is not None
            mask = read_image(mask_file)
            index = np.argwhere(np.isin(mask.array, (3, 4)))[::5000]
            points = mask.geometry.to_world(index)
            for point, label in zip(points, mask.array[tuple(index.T)]):
                side, _ = sides.side_and_zone(tuple(point))
                agreement.append(side == ('left' if label == 3 else 'right'))
    assert len(agreement) > 1000
    assert np.mean(agreement) > 0.99
