"""Plugins that add to their input, against literal numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models.plugins import GRN3D, GlobalContext3D, NonLocal3D
from tests.oracles.waves import check_wave, vectors, wave

SHAPE = (2, 4, 3, 5, 6)


def filled(module: nn.Module) -> tuple[nn.Module, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    module = module.double()
    for value in module.parameters():
        nn.init.normal_(value)
    return module, {k: v.numpy() for k, v in module.state_dict().items()}


def softmax(x: np.ndarray) -> np.ndarray:
    exponential = np.exp(x - x.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def test_grn_stored_numbers() -> None:
    module = GRN3D(4).double()
    module.load_state_dict(
        {
            'gamma': wave(4, freq=0.8, phase=0.1, amp=0.5),
            'beta': wave(4, freq=0.6, phase=0.2, amp=0.5),
        }
    )

    out = module(wave(2, 4, 2, 3, 3, freq=0.41))

    check_wave(out, vectors()['grn']['out'])


def test_grn_has_a_gradient_where_a_channel_is_zero() -> None:
    module = GRN3D(2)
    nn.init.ones_(module.gamma)
    x = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)

    module(x).sum().backward()

    # x * n is flat around zero: the slope is that of x alone
    assert torch.equal(x.grad, torch.ones_like(x))


def test_global_context_is_the_literal_formula() -> None:
    module, w = filled(GlobalContext3D(4))
    x = torch.randn(SHAPE, dtype=torch.float64)
    a = x.numpy()

    flat = a.reshape(2, 4, -1)
    logits = np.einsum('ncv,c->nv', flat, w['attend.weight'].reshape(4))
    context = np.einsum('ncv,nv->nc', flat, softmax(logits + w['attend.bias']))
    hidden = context @ w['transform.0.weight'].T + w['transform.0.bias']
    mean, var = hidden.mean(1, keepdims=True), hidden.var(1, keepdims=True)
    hidden = (hidden - mean) / np.sqrt(var + 1e-5)
    hidden = hidden * w['transform.1.weight'] + w['transform.1.bias']
    added = np.maximum(hidden, 0) @ w['transform.3.weight'].T
    added = added + w['transform.3.bias']
    np.testing.assert_allclose(
        module(x).detach(), a + added[:, :, None, None, None], rtol=1e-12
    )


def test_non_local_is_the_literal_formula() -> None:
    module, w = filled(NonLocal3D(4))
    x = torch.randn(SHAPE, dtype=torch.float64)
    a = x.numpy()

    def embed(name: str, values: np.ndarray) -> np.ndarray:
        weight = w[f'{name}.weight'][:, :, 0, 0, 0]
        mixed = np.einsum('oc,ncdhw->nodhw', weight, values)
        return mixed + w[f'{name}.bias'][:, None, None, None]

    def pooled(values: np.ndarray) -> np.ndarray:
        _, _, d, h, w_ = values.shape
        out = np.full((2, 2, -(-d // 2), -(-h // 2), -(-w_ // 2)), -np.inf)
        for z, y, x_ in np.ndindex(d, h, w_):
            cell = out[:, :, z // 2, y // 2, x_ // 2]
            np.maximum(cell, values[:, :, z, y, x_], out=cell)
        return out.reshape(2, 2, -1)

    query = embed('query', a).reshape(2, 2, -1)
    key, value = pooled(embed('key', a)), pooled(embed('value', a))
    assert query.shape[2] == 90 and key.shape[2] == 2 * 3 * 3
    matrix = softmax(np.einsum('ncq,nck->nqk', query, key) / np.sqrt(2))
    attended = np.einsum('nqk,nck->ncq', matrix, value).reshape(2, 2, 3, 5, 6)
    np.testing.assert_allclose(
        module(x).detach(), a + embed('out', attended), rtol=1e-11
    )


def test_non_local_refuses_a_map_it_would_take_hours_for() -> None:
    module = NonLocal3D(2, max_voxels=100)

    with pytest.raises(
        ConfigError, match='120 voxels.*forw3, forw4 and back3'
    ):
        module(torch.zeros(1, 2, 4, 5, 6))
