from __future__ import annotations

import numpy as np
import pytest

from tests.dicom_series import COLUMNS, ROWS, SLICES


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    """HU linear along z, so that interpolated slices are known."""
    base = rng.integers(-1000, 0, (1, ROWS, COLUMNS))
    return (base + 10 * np.arange(SLICES)[:, None, None]).astype(np.int16)
