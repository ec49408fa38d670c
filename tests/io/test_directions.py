from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.directions import orthonormal

TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def test_orthonormal_directions_stay_as_they_are() -> None:
    direction, caveats = orthonormal('x', TURN)

    np.testing.assert_array_equal(direction, TURN)
    assert not caveats


def test_rounded_directions_become_the_nearest_orthonormal_ones() -> None:
    stated = TURN + [[2e-3, 0, 0], [0, 0, -1e-3], [0, 2e-3, 0]]

    direction, (caveat,) = orthonormal('x', stated)

    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert np.linalg.det(direction) == pytest.approx(1)
    # no rotation near it is nearer
    gap = np.linalg.norm(direction - stated)
    for axis in np.eye(3):
        for angle in (-1e-3, 1e-3):
            cross = np.cross(np.eye(3), angle * axis)
            other = direction @ np.linalg.qr(np.eye(3) + cross)[0]
            other *= np.sign((other * direction).sum(0))
            assert np.linalg.norm(other - stated) > gap
    assert 'not orthonormal' in caveat


@pytest.mark.parametrize(
    ('direction', 'reason'),
    [
        ([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], 'axes x and y are at 84'),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1.5]], r'lengths \[1\. +1\. +1\.5\]'),
        (np.diag([1, 1, np.nan]), 'not hold unit vectors'),
        (np.diag([1, 1, 30]), 'not hold unit vectors'),
    ],
)
def test_sheared_and_damaged_directions_are_refused(
    direction: list, reason: str
) -> None:
    with pytest.raises(SeriesError, match=f'scan.mha: .*{reason}'):
        orthonormal('scan.mha', direction)
