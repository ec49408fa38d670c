"""Parametric nodules have their sizes; shams are no look-alikes."""

from __future__ import annotations

import numpy as np
import pytest

from lungdet.insertion.donor_parts import donor_of_scan, parametric_donor


def test_parametric_nodules_have_their_sizes() -> None:
    for seed, diameter in enumerate((3.5, 6.0, 12.0, 28.0)):
        donor = parametric_donor(seed, diameter, 'vessel')

        assert donor.diameter_mm == pytest.approx(diameter, rel=0.2)
        assert donor.level[[0, -1]].max() < 0.5  # nothing is cut off
        again = parametric_donor(seed, diameter, 'vessel')
        assert (again.tissue == donor.tissue).all()


def test_round_pieces_of_vessels_are_no_shams() -> None:
    image = np.full((40, 40, 40), -870.0)
    z, y, x = np.indices(image.shape) - 20
    tube, ball = image.copy(), image.copy()
    tube[y**2 + x**2 <= 2**2] = 0
    ball[z**2 + y**2 + x**2 <= 5**2] = 0
    spacing = np.ones(3)

    assert donor_of_scan(tube, spacing, (20, 20, 20), 7.0, 'vessel')
    assert donor_of_scan(ball, spacing, (20, 20, 20), 7.0, 'vessel') is None
    assert donor_of_scan(image, spacing, (20, 20, 20), 7.0, 'pleura') is None
