from __future__ import annotations

import numpy as np

from lungdet.prepare.closing import close_mask


def test_closing_is_the_literal_one(rng: np.random.Generator) -> None:
    mask = np.zeros((9, 15, 17), dtype=bool)
    mask[tuple(rng.integers(4, (5, 11, 13), (12, 3)).T)] = True
    spacing = np.array([3.0, 3.5, 2.8])
    reach = 6
    wide = np.pad(mask, [(reach, reach)] * 3)
    wide[:reach], wide[-reach:] = wide[reach], wide[-reach - 1]
    points = np.argwhere(wide) * spacing
    every = np.argwhere(np.ones(wide.shape)) * spacing
    near = np.array(
        [((points - p) ** 2).sum(1).min() <= 144.0 for p in every]
    ).reshape(wide.shape)
    gaps = np.argwhere(~near) * spacing
    wanted = np.array(
        [((gaps - p) ** 2).sum(1).min() > 144.0 for p in every]
    ).reshape(wide.shape)
    inner = (slice(reach, -reach),) * 3

    closed = close_mask(mask, spacing, 12.0)

    np.testing.assert_array_equal(closed, wanted[inner] | mask)


def test_closing_of_nothing_is_empty() -> None:
    mask = np.zeros((4, 5, 6), dtype=bool)

    closed = close_mask(mask, np.ones(3), 12.0)

    assert not closed.any()
    assert closed is not mask


def test_a_lung_that_the_scan_cuts_does_not_shrink() -> None:
    mask = np.zeros((6, 12, 12), dtype=bool)
    mask[:, 4:8, 4:8] = True  # from the first slice to the last

    closed = close_mask(mask, np.array([3.0, 3.0, 3.0]), 6.0)

    np.testing.assert_array_equal(closed, mask)
