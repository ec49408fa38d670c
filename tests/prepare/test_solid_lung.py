from __future__ import annotations

import numpy as np

from lungdet.prepare.solid_lung import (
    find_solid_lung,
    inside_ribs,
    midline,
    mirrored,
)

SPACING = np.array([3.0, 3.0, 3.0])
SHAPE = (60, 80, 121)


def ribs(hu: np.ndarray, middle: float) -> None:
    """Bone on both sides of a column."""
    for offset in (-50, 50):
        column = round(middle + offset)
        hu[::4, 30:50, column - 1 : column + 2] = 700


def test_midline_is_the_axis_of_the_bones_not_of_the_body() -> None:
    hu = np.full(SHAPE, 40.0)
    ribs(hu, 58)
    body = np.ones(SHAPE, dtype=bool)
    body[..., 115:] = False

    assert midline(hu, body) == 58
    # without bone the middle of the body
    assert midline(np.full(SHAPE, 40.0), body) == 57


def test_mirrored_twice_is_the_same_inside_the_image(
    rng: np.random.Generator,
) -> None:
    mask = rng.random(SHAPE) > 0.5
    mask[..., :6] = False

    image = mirrored(mask, 63.0)  # column 6 and column 120 face each other

    np.testing.assert_array_equal(image[..., 126 - 40], mask[..., 40])
    np.testing.assert_array_equal(mirrored(image, 63.0), mask)


def scene(solid_from: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, lungs and body; the other lung is solid below a slice."""
    z, y, x = np.indices(SHAPE)
    hu = np.full(SHAPE, 40.0)
    ribs(hu, 60)
    inside = ((y - 40) / 30) ** 2 + (z - 30) ** 2 / 26**2
    left = inside + ((x - 30) / 20) ** 2 < 1
    right = inside + ((x - 90) / 20) ** 2 < 1
    right &= z >= solid_from
    lungs = left | right
    hu[lungs] = -850
    return hu, lungs, np.ones(SHAPE, dtype=bool)


def test_a_white_lung_is_lung() -> None:
    hu, lungs, body = scene(60)

    solid = find_solid_lung(hu, lungs, body, SPACING)

    wanted = mirrored(lungs, 60.0)
    assert (solid.mask & wanted).sum() > 0.7 * wanted.sum()
    assert not (solid.mask & ~wanted).any()
    assert 'kept as lung' in solid.caveats[0]


def test_a_high_diaphragm_is_told_and_not_taken() -> None:
    hu, lungs, body = scene(20)

    solid = find_solid_lung(hu, lungs, body, SPACING)

    assert not solid.mask.any()
    assert 'do not count as lung' in solid.caveats[0]


def test_two_lungs_of_air_need_nothing() -> None:
    hu, lungs, body = scene(0)

    solid = find_solid_lung(hu, lungs, body, SPACING)

    assert not solid.mask.any() and not solid.caveats


def test_a_solid_upper_lobe_is_lung() -> None:
    hu, lungs, body = scene(0)
    z, _, x = np.indices(SHAPE)
    lobe = lungs & (x > 60) & (z > 38)
    hu[lobe] = 40

    solid = find_solid_lung(hu, lungs & ~lobe, body, SPACING)

    assert (solid.mask & lobe).sum() > 0.7 * lobe.sum()
    assert not (solid.mask & lungs & ~lobe).any()
    assert 'kept as lung' in solid.caveats[0]


def test_a_chest_wall_outside_the_ribs_is_neither_kept_nor_told() -> None:
    """A lung whose ribs stand 16 voxels nearer to the midline."""
    hu, lungs, body = scene(0)
    x = np.indices(SHAPE)[2]
    wall = lungs & (x > 92)
    hu[wall] = 40
    hu[::4, :, 92:94] = 700

    solid = find_solid_lung(hu, lungs & ~wall, body, SPACING)

    assert wall.sum() > 0.1 * lungs.sum()
    assert not solid.mask.any() and not solid.caveats


def test_between_the_ribs_is_what_no_bone_cuts_off(
    rng: np.random.Generator,
) -> None:
    bones = rng.random((5, 6, 20)) < 0.05
    bones[..., 9:12] = False

    inside = inside_ribs(bones, 10.0, np.array([15.0, 3.0, 3.0]))

    for z, y in np.ndindex(5, 6):
        near = bones[z : z + 1, max(y - 1, 0) : y + 2].any((0, 1))
        columns = np.flatnonzero(near)
        low = max([c for c in columns if c <= 10], default=-1)
        high = min([c for c in columns if c > 10], default=20)
        wanted = (np.arange(20) > low) & (np.arange(20) < high)
        np.testing.assert_array_equal(inside[z, y], wanted)
