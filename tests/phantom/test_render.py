from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungdet.geometry import resample_nearest
from tests.phantom.conftest import Measured


def test_tissues_have_their_hu_in_the_image(measured: Measured) -> None:
    image, hu = measured.image, measured.chest.body.hu

    assert 30 <= np.median(image[measured.tissue('soft', 3)]) <= 70
    assert -115 <= np.median(image[measured.tissue('fat', 2)]) <= -95
    assert 150 <= np.median(image[measured.tissue('marrow', 1)]) <= 350
    trachea = resample_nearest(
        (measured.chest.labels == 5).astype(np.uint8),
        measured.chest.body.geometry,
        measured.grid,
    )
    lumen = ndimage.binary_erosion(trachea, iterations=4)
    assert -1000 <= np.median(image[lumen]) <= -940
    # cortex is thinner than a voxel here and there; so its value in the
    # chest is tested, not in the image
    assert 500 <= hu.cortex <= 1200
    assert measured.clean.max() == pytest.approx(0.85 * hu.cortex, rel=0.2)
