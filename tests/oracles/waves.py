"""The attention vectors' inputs, sine waves, and their stored outputs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).parents[1] / 'data' / 'ssl_attention_vectors.json'


@cache
def vectors() -> dict:
    return json.loads(FILE.read_text())


def wave(
    *shape: int, freq: float, phase: float = 0.0, amp: float = 1.0
) -> Tensor:
    """``amp * sin(freq * i + phase)`` over the flat index, float64."""
    index = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return (amp * torch.sin(freq * index + phase)).reshape(shape)


def check_wave(actual: Tensor, wanted: dict) -> None:
    """Compare with a stored shape, sums, beginning and end (12 digits)."""
    flat = actual.detach().reshape(-1)
    assert list(actual.shape) == wanted['shape']
    scale = wanted['abs_sum']
    assert abs(float(flat.sum()) - wanted['sum']) <= 1e-11 * scale
    assert abs(float(flat.abs().sum()) - scale) <= 1e-11 * scale
    for part, key in ((flat[:8], 'first8'), (flat[-4:], 'last4')):
        np.testing.assert_allclose(part, wanted[key], rtol=1e-10, atol=1e-11)
