from __future__ import annotations

import numpy as np
import pytest

from lungdet.prepare.lung_doubts import doubt_of_lungs, doubt_of_sides

SPACING = np.array([3.0, 3.0, 3.0])


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lungs of 4.3 l in a body of 23 l: air, HU, body."""
    shape = (60, 100, 130)
    _, y, x = np.indices(shape)
    body = ((y - 50) / 45) ** 2 + ((x - 65) / 60) ** 2 < 1
    air = np.zeros(shape, dtype=bool)
    for middle in (38, 92):
        one = ((y - 50) / 28) ** 2 + ((x - middle) / 20) ** 2 < 1
        air[8:52] |= one[8:52]
    hu = np.where(body, np.where(air, -850.0, 40.0), -1000.0)
    return air, hu, body


def test_lungs_of_a_person_are_no_doubt() -> None:
    air, hu, body = scene()

    assert doubt_of_lungs(air, hu, body, SPACING) is None
    assert doubt_of_sides(air, body) is None


def shifted(air: np.ndarray) -> np.ndarray:
    moved = np.zeros_like(air)
    moved[:, 26:] = air[:, :-26]
    return moved


@pytest.mark.parametrize(
    ('change', 'value', 'reason'),
    [
        (lambda air: air[:] & (np.arange(130) < 25), -850, 'l of lung'),
        (lambda air: air, -990, 'mean of -990 HU'),
        (lambda air: air, -400, 'mean of -400 HU'),
        (shifted, -850, 'of the body along y'),
    ],
)
def test_what_are_no_lungs_is_named(change, value: float, reason: str) -> None:
    air, hu, body = scene()
    air = change(air)
    hu[air] = value

    doubt = doubt_of_lungs(air, hu, body, SPACING)

    assert doubt is not None and reason in doubt


def test_flat_air_is_not_as_high_as_lungs() -> None:
    air, hu, body = scene()
    flat = body & (np.arange(60) < 18)[:, None, None]  # of 54 mm
    hu[flat] = -850

    assert doubt_of_lungs(flat, hu, body, SPACING) == '54 mm high'


def test_a_body_of_air_is_a_doubt() -> None:
    air, hu, body = scene()
    hu[air] = -850

    doubt = doubt_of_lungs(air, hu, body & np.roll(air, 3, axis=1), SPACING)

    assert doubt is not None and 'of the body is air' in doubt


def test_a_wall_that_opens_is_seen_by_the_jump_of_the_body() -> None:
    air, hu, body = scene()
    body[20:30, :, 65:] &= air[20:30, :, 65:]  # half of it is lost there

    doubt = doubt_of_lungs(air, hu, body, SPACING)

    assert doubt == "the body's wall is open in some slices, at 2 jumps"


def test_a_body_that_ends_at_a_slant_has_no_open_wall() -> None:
    """As where slices of a tilted grid leave the scan: the less is left of
    the body, the larger the part of it that the next slice loses."""
    air, hu, body = scene()
    z, y, _ = np.indices(body.shape)
    inside = y < 95 - 7 * (z - 40)
    areas = (body & inside)[:52].sum((1, 2))
    assert 0 < areas[51] < 0.75 * areas[50]

    doubt = doubt_of_lungs(air & inside, hu, body & inside, SPACING)

    assert doubt is None


def test_one_lung_alone_is_a_doubt() -> None:
    air, _, body = scene()
    air[..., 65:] = False

    assert 'one lung only' in (doubt_of_sides(air, body) or '')
