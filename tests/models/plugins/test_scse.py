from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.models.plugins import SCSE3D
from tests.models.plugins.literal import assert_equal, filled, image, sigmoid


def test_scse_is_the_literal_formula() -> None:
    module, w = filled(SCSE3D(4))
    x, a = image()

    hidden = np.maximum(
        a.mean((2, 3, 4)) @ w['reduce.weight'].T + w['reduce.bias'], 0
    )
    channel = sigmoid(hidden @ w['expand.weight'].T + w['expand.bias'])
    mixed = np.einsum('ncdhw,c->ndhw', a, w['spatial.weight'][0, :, 0, 0, 0])
    voxel = sigmoid(mixed + w['spatial.bias'])
    wanted = a * channel[:, :, None, None, None] + a * voxel[:, None]
    assert_equal(module(x), wanted)


def test_fresh_gates_are_near_1_0() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 8, 9, 10)

    actual = (SCSE3D(64).train()(x) / x).mean().detach()

    assert float(actual) == pytest.approx(1.0, rel=0.15)


def test_identity_start_zeroes_both_gates() -> None:
    x = torch.randn(2, 5, 4, 3, 6)

    assert torch.equal(SCSE3D(5, identity_start=True)(x), x)
