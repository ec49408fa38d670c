from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.models.plugins import SE3D
from tests.models.plugins.literal import assert_equal, filled, image, sigmoid


def test_se_is_the_literal_formula() -> None:
    module, w = filled(SE3D(4))
    x, a = image()

    hidden = np.maximum(
        a.mean((2, 3, 4)) @ w['reduce.weight'].T + w['reduce.bias'], 0
    )
    gates = sigmoid(hidden @ w['expand.weight'].T + w['expand.bias'])
    assert hidden.shape == (2, 8)
    assert_equal(module(x), a * gates[:, :, None, None, None])


def test_fresh_gates_are_near_0_5() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 8, 9, 10)

    actual = (SE3D(64).train()(x) / x).mean().detach()

    assert float(actual) == pytest.approx(0.5, rel=0.15)
