"""Texture and noise against what was measured on real scans.

The bands are ranges of real CT, computed the same way.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.phantom.conftest import Measured


def spread(values: np.ndarray) -> float:
    """Robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def lag_one(values: np.ndarray, mask: np.ndarray, axis: int) -> float:
    """Correlation of neighbours along an axis, both inside the mask."""
    values, mask = np.moveaxis(values, axis, 0), np.moveaxis(mask, axis, 0)
    pairs = mask[1:] & mask[:-1]
    return float(np.corrcoef(values[1:][pairs], values[:-1][pairs])[0, 1])


def test_parenchyma_median_and_slow_variation(measured: Measured) -> None:
    image = measured.image
    tissue = measured.inner & (image > -985) & (image < -650)

    assert -910 <= np.median(image[tissue]) <= -800
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), (0, 4, 4))
    smooth = ndimage.gaussian_filter(np.where(tissue, image, 0), (0, 4, 4))
    smooth /= np.maximum(weight, 1e-3)
    assert 18 <= smooth[tissue & (weight > 0.6)].std() <= 45


def test_noise_and_its_correlation_in_soft_tissue(measured: Measured) -> None:
    soft = measured.tissue('soft', 3)
    residual = measured.residual

    noise = spread(residual[soft])
    in_plane = [lag_one(residual, soft, axis) for axis in (1, 2)]

    assert soft.sum() > 50_000
    assert 8 <= noise <= 60
    assert noise == pytest.approx(measured.chest.body.noise, rel=0.1)
    for lag in in_plane:
        assert 0 <= lag <= 0.7
        assert noise <= 40 or lag < 0.3
        assert noise >= 20 or lag > 0.4
    assert 0.5 <= lag_one(residual, soft, 0) <= 0.95


def test_noise_in_the_lung_is_that_of_soft_tissue_or_more(
    measured: Measured,
) -> None:
    residual = measured.residual
    soft = spread(residual[measured.tissue('soft', 3)])

    assert 1 <= spread(residual[measured.parenchyma]) / soft <= 2
