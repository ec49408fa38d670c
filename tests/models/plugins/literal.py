"""Inputs and formulas for the literal versions of plugins in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

SHAPE = (2, 4, 3, 5, 6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    exponential = np.exp(x - x.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def filled(module: nn.Module) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """In double precision with random weights, and the weights."""
    torch.manual_seed(0)
    module = module.double()
    for value in module.parameters():
        nn.init.normal_(value)
    arrays = {k: v.numpy() for k, v in module.state_dict().items()}
    return module, arrays


def image() -> tuple[Tensor, np.ndarray]:
    torch.manual_seed(1)
    x = torch.randn(SHAPE, dtype=torch.float64)
    return x, x.numpy()


def assert_equal(actual: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(
        actual.detach().numpy(), wanted, rtol=1e-12, atol=1e-13
    )
