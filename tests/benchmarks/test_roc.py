"""The area under a ROC curve is a chance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.roc import area


def test_area_counts_ties_as_one_half() -> None:
    high, low = np.array([0.0, 0.5, 0.9]), np.array([0.0, 0.5])

    pairs = [(a > b) + (a == b) / 2 for a in high for b in low]

    assert area(high, low) == pytest.approx(np.mean(pairs))
