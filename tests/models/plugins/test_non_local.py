from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models.plugins import NonLocal3D
from tests.models.plugins.literal import SHAPE, filled, softmax


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
