"""The area under a ROC curve is a chance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.roc import area, areas


def test_area_counts_ties_as_one_half() -> None:
    high, low = np.array([0.0, 0.5, 0.9]), np.array([0.0, 0.5])

    pairs = [(a > b) + (a == b) / 2 for a in high for b in low]

    assert area(high, low) == pytest.approx(np.mean(pairs))


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 5, 7), rng.integers(0, 4, 9)
    counts = [rng.integers(0, 3, (6, n)) for n in (7, 9)]

    expected = [
        area(np.repeat(high, a), np.repeat(low, b)) for a, b in zip(*counts)
    ]

    assert areas(high, low, *counts) == pytest.approx(expected)
