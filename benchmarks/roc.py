"""The area under a ROC curve."""

from __future__ import annotations

import numpy as np


def area(high: np.ndarray, low: np.ndarray) -> float:
    """Probability that a value of ``high`` exceeds one of ``low``; ties count
    as one half.

    Examples:
        >>> area(np.array([0.5, 0.9]), np.array([0.1, 0.5]))
        0.875
    """
    above = np.sign(high[:, None] - low).mean()
    return float((1 + above) / 2)


def areas(
    high: np.ndarray,
    low: np.ndarray,
    high_weights: np.ndarray,
    low_weights: np.ndarray,
) -> np.ndarray:
    """The area for each of R weightings of the values, such as resamples of a
    bootstrap.

    Args:
        high: Values (N,) of the positive class.
        low: Values (M,) of the negative class.
        high_weights: Weights (R, N); each row has a positive sum.
        low_weights: Weights (R, M); each row has a positive sum.

    Examples:
        >>> high, low = np.array([0.5, 0.9]), np.array([0.1, 0.5])
        >>> areas(high, low, np.array([[1, 1], [2, 0]]), np.ones((2, 2)))
        array([0.875, 0.75 ])
    """
    sign = np.sign(high[:, None] - low)
    above = ((high_weights @ sign) * low_weights).sum(1)
    pairs = high_weights.sum(1) * low_weights.sum(1)
    return (1 + above / pairs) / 2
