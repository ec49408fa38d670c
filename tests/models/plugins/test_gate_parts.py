from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lungdet.models.plugins import gate_parts


@pytest.mark.parametrize(
    ('channels', 'hidden'), [(64, 16), (32, 8), (8, 5), (2, 5)]
)
def test_bottleneck_is_no_narrower_than_its_bound(
    channels: int, hidden: int
) -> None:
    mlp = gate_parts.ChannelMLP(channels, 4, min_hidden=5)

    assert mlp[0].out_features == mlp[-1].in_features == hidden
    assert mlp(torch.ones(3, channels)).shape == (3, channels)


def test_channel_mlp_by_hand() -> None:
    mlp = gate_parts.ChannelMLP(2, 1, min_hidden=1)
    values = {
        '0.weight': [[1.0, 1], [1, -1]],
        '0.bias': [0.0, 0],
        '2.weight': [[2.0, 1], [0, 1]],
        '2.bias': [0.5, 0],
    }
    mlp.load_state_dict({k: torch.tensor(v) for k, v in values.items()})

    # sums 3 and -1, the second cut to 0: 2 * 3 + 0.5 and 0
    assert mlp(torch.tensor([[1.0, 2]])).tolist() == [[6.5, 0]]


def test_layer_norm_comes_before_the_relu() -> None:
    mlp = gate_parts.ChannelMLP(4, 2, min_hidden=1, norm=True)

    kinds = [type(layer) for layer in mlp]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Linear]


def test_gate_starts_at_a_half_or_at_one() -> None:
    zero = torch.zeros(2, 3)

    assert gate_parts.gate(zero, identity_start=False).unique() == 0.5
    assert gate_parts.gate(zero, identity_start=True).unique() == 1.0


@pytest.mark.parametrize('norm', [True, False])
def test_map_gate_that_starts_as_the_identity_is_one(norm: bool) -> None:
    module = gate_parts.MapGate(norm=norm, identity_start=True).eval()

    out = module(torch.randn(2, 2, 4, 5, 6))

    assert torch.equal(out, torch.ones(2, 1, 4, 5, 6))


def test_half_precision_is_computed_in_float32_and_given_back() -> None:
    types = []

    class Module(nn.Module):
        @gate_parts.in_float32
        def forward(self, x: Tensor) -> Tensor:
            types.append(x.dtype)
            return x

    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert Module()(torch.zeros(1, dtype=dtype)).dtype == dtype
    assert types == [torch.float32, torch.float32, torch.float64]
