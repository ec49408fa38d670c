from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.hounsfield import LUNG_WINDOW, Window

HU = np.arange(-1300, 800, dtype=np.int16)


def test_window_is_linear_and_clipped() -> None:
    intensity = Window(-1200, 600).normalize(HU)

    assert intensity.dtype == np.float32
    expected = np.clip((HU.astype(float) + 1200) / 1800, 0, 1)
    np.testing.assert_allclose(intensity, expected, atol=1e-7)


@pytest.mark.parametrize('kind', [np.int16, np.float32, np.float64])
def test_arrays_and_tensors_give_the_same_bits(kind: type) -> None:
    hu = HU.astype(kind)

    array = LUNG_WINDOW.normalize(hu)
    tensor = LUNG_WINDOW.normalize(torch.from_numpy(hu))

    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(array, tensor.numpy())


@pytest.mark.parametrize('kind', [np.int16, np.float32])
def test_hu_are_left_as_they_were(kind: type) -> None:
    hu = HU.astype(kind)
    tensor = torch.from_numpy(hu.copy())

    LUNG_WINDOW.normalize(hu)
    LUNG_WINDOW.normalize(tensor)

    np.testing.assert_array_equal(hu, HU)
    np.testing.assert_array_equal(tensor.numpy(), HU)
