from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.models.plugins import CoordAttention3D
from tests.models.plugins.literal import (
    SHAPE,
    assert_equal,
    filled,
    image,
    sigmoid,
)


def test_coordinate_attention_is_the_literal_formula() -> None:
    module, w = filled(CoordAttention3D(4))
    module.train()
    x, a = image()

    profiles = [a.mean((3, 4)), a.mean((2, 4)), a.mean((2, 3))]  # (N, C, side)
    joined = np.concatenate(profiles, axis=2)
    mixed = np.einsum('ncl,mc->nml', joined, w['squeeze.weight'][:, :, 0])
    mixed = mixed + w['squeeze.bias'][:, None]
    mean = mixed.mean((0, 2), keepdims=True)
    std = np.sqrt(mixed.var((0, 2), keepdims=True) + 1e-5)
    normed = (mixed - mean) / std * w['bn.weight'][:, None]
    normed = normed + w['bn.bias'][:, None]
    hidden = normed * np.clip(normed + 3, 0, 6) / 6
    wanted, start = a, 0
    for k, side in enumerate(SHAPE[2:]):
        part = hidden[:, :, start : start + side]
        logits = np.einsum(
            'nml,cm->ncl', part, w[f'expand.{k}.weight'][:, :, 0]
        )
        gates = sigmoid(logits + w[f'expand.{k}.bias'][:, None])
        along = [1, 1, 1]
        along[k] = side
        wanted = wanted * gates.reshape(2, 4, *along)
        start += side
    assert_equal(module(x), wanted)


def test_fresh_gates_are_near_0_125() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 8, 9, 10)

    actual = (CoordAttention3D(64).train()(x) / x).mean().detach()

    assert float(actual) == pytest.approx(0.125, rel=0.15)
