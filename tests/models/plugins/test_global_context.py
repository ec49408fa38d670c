from __future__ import annotations

import numpy as np
import torch

from lungdet.models.plugins import GlobalContext3D
from tests.models.plugins.literal import SHAPE, filled, softmax


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
