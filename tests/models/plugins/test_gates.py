"""Small gates against stored numbers and literal numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.plugins import (
    ECA3D,
    SCSE3D,
    SE3D,
    CoordAttention3D,
    SimAM3D,
)
from tests.oracles.waves import check_wave, vectors, wave

SHAPE = (2, 4, 3, 5, 6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


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


def test_simam_stored_numbers() -> None:
    x = wave(2, 4, 2, 3, 3, freq=0.41)

    check_wave(SimAM3D(4)(x), vectors()['simam']['out'])


def test_simam_of_one_voxel_is_finite() -> None:
    # no distance from the mean: sigmoid(1 / 2)
    x = torch.full((1, 2, 1, 1, 1), 3.0)

    actual = SimAM3D(2)(x)

    torch.testing.assert_close(actual, torch.full_like(x, 3 * 0.6224593))


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


def test_se_is_the_literal_formula() -> None:
    module, w = filled(SE3D(4))
    x, a = image()

    hidden = np.maximum(
        a.mean((2, 3, 4)) @ w['reduce.weight'].T + w['reduce.bias'], 0
    )
    gates = sigmoid(hidden @ w['expand.weight'].T + w['expand.bias'])
    assert hidden.shape == (2, 8)
    assert_equal(module(x), a * gates[:, :, None, None, None])


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


@pytest.mark.parametrize(
    ('kind', 'gate'), [(SE3D, 0.5), (SCSE3D, 1.0), (CoordAttention3D, 0.125)]
)
def test_fresh_gates(kind: type, gate: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 8, 9, 10)

    actual = (kind(64).train()(x) / x).mean().detach()

    assert abs(float(actual) - gate) < 0.15 * gate
