"""The area under a ROC curve."""

from __future__ import annotations

import numpy as np


def area(high: np.ndarray, low: np.ndarray) -> float:
    """Chance that one of ``high`` is above one of ``low``; ties count half.

    Examples:
        >>> area(np.array([0.5, 0.9]), np.array([0.1, 0.5]))
        0.875
    """
    above = np.sign(high[:, None] - low).mean()
    return float((1 + above) / 2)
