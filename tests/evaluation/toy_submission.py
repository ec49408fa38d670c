"""A submission with a hit, a miss, a false positive and an ignored mark."""

from __future__ import annotations

import numpy as np

from lungdet.evaluation import EvaluationOptions, Submission
from lungdet.structures import Annotation, ReferenceSet

OPTIONS = EvaluationOptions(bootstrap=30)
NODULE, EXCLUSION = Annotation((0, 0, 0), 8.0), Annotation((50, 0, 0), None)
REFERENCE = ReferenceSet(
    'toy',
    {'a': [NODULE], 'b': [NODULE], 'unlisted': [NODULE]},
    {'b': [EXCLUSION]},
    ('a', 'b', 'c'),
)


def marks(*rows: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Marks at x, in mm, and their scores."""
    return np.array([(x, 0, 0) for x, _ in rows]), np.array(
        [s for _, s in rows]
    )


MARKS = {'a': marks((1, 0.9), (20, 0.4)), 'b': marks((51, 0.8))}
SUBMISSION = Submission('marks.csv', MARKS, 64 * '0')
