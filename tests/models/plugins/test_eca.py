from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models.plugins import ECA3D
from tests.oracles.waves import vectors, wave


def test_eca_stored_gates() -> None:
    module = ECA3D(4, kernel_size=3).double()
    kernel = wave(1, 1, 3, freq=0.9, phase=0.4, amp=0.7)
    module.load_state_dict({'conv.weight': kernel})
    x = wave(2, 4, 2, 3, 3, freq=0.41)

    actual = module(x)

    gates = x.new_tensor(vectors()['eca']['gate'])[:, :, None, None, None]
    torch.testing.assert_close(actual, x * gates, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ('channels', 'taps'), [(32, 3), (64, 3), (96, 3), (128, 5), (4, 1)]
)
def test_eca_kernel_by_channels(channels: int, taps: int) -> None:
    assert ECA3D(channels).conv.kernel_size == (taps,)


def test_eca_refuses_an_even_kernel() -> None:
    with pytest.raises(ConfigError, match='kernel_size=4 is even'):
        ECA3D(8, kernel_size=4)
