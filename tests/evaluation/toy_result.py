"""A result with everything that makes curves hard."""

from __future__ import annotations

import numpy as np

from lungdet.evaluation import FROCResult, evaluate_froc

UIDS = [f's{k}' for k in range(23)]


def toy_result(rng: np.random.Generator) -> FROCResult:
    """Scans of 0 to 2 nodules, ties, misses, and marks beside them."""
    nodules, marks = {}, {}
    for k, uid in enumerate(UIDS):
        count = k % 3
        nodules[uid] = (
            np.array([[90.0 * i, 0, 0] for i in range(count)]).reshape(-1, 3),
            np.full(count, 8.0),
        )
        points = rng.integers(0, 4, size=(5, 1)) * [[45.0, 0, 0]]
        marks[uid] = points, rng.integers(0, 9, size=5) / 8
    return evaluate_froc(nodules, {}, marks, UIDS)
