from __future__ import annotations

import numpy as np
import pytest

from tests.datasets.transforms.draws import SHAPE


@pytest.fixture
def crop(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)
