from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models import RestorationHead
from tests.models.ssl.toys import VECTORS, num_parameters


def test_head_has_the_published_size() -> None:
    counts = VECTORS['counts']

    assert (
        num_parameters(RestorationHead())
        == counts['restoration_head_128_64_64_1']
    )
    narrow = RestorationHead(channels=(64, 32))
    assert (
        num_parameters(narrow)
        == counts['restoration_head_128_64_32_1']
        == 82_241
    )
    with pytest.raises(ConfigError, match='2 levels'):
        RestorationHead(channels=(64,))


def test_head_restores_the_full_size_in_unit_range() -> None:
    head = RestorationHead(8, (6, 4)).eval()

    out = head(torch.randn(2, 8, 2, 3, 4) * 50)

    assert out.shape == (2, 1, 8, 12, 16)
    assert 0 <= out.min() and out.max() <= 1 and out.dtype == torch.float32
    # each output voxel depends on its own cell of stride 4 alone
    x = torch.zeros(1, 8, 2, 3, 4)
    changed = x.clone()
    changed[0, :, 1, 0, 2] = 5.0
    differs = (head(changed) != head(x))[0, 0].nonzero()
    assert differs.min(0).values.tolist() == [4, 0, 8]
    assert differs.max(0).values.tolist() == [7, 3, 11]


def test_head_starts_at_the_mean_of_the_data() -> None:
    head = RestorationHead(8, (6, 4))
    nn.init.zeros_(head.out.weight)

    head.set_mean(torch.tensor(0.3))
    assert torch.allclose(head(torch.rand(2, 8, 2, 2, 2)), torch.tensor(0.3))
    head.set_mean(torch.tensor(0.0))  # not minus infinity
    assert head.out.bias.item() == pytest.approx(np.log(0.01 / 0.99))


def test_norms_and_activations_are_the_configs() -> None:
    head = RestorationHead(
        8,
        (6, 4),
        norm_cfg={'type': 'GN', 'num_groups': 2},
        act_cfg={'type': 'LeakyReLU'},
    )
    kinds = [type(m) for level in head.decoder for m in level]

    assert kinds == 2 * [nn.ConvTranspose3d, nn.GroupNorm, nn.LeakyReLU]
