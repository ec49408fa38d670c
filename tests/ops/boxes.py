"""Boxes that tests of several operations use."""

from __future__ import annotations

import numpy as np


def random_boxes(rng: np.random.Generator, num: int) -> np.ndarray:
    """Of small integers: touching, nested, equal and empty ones occur."""
    low = rng.integers(0, 20, (num, 3)).astype(float)
    return np.concatenate([low, low + rng.integers(0, 9, (num, 3))], axis=1)
