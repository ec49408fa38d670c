from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lungdet.errors import ConfigError
from lungdet.models.plugins import CBAM3D
from tests.oracles.waves import check_wave, vectors, wave


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def stored(sigmoid: str) -> CBAM3D:
    module = CBAM3D(in_channels=4, ratio=2, sigmoid=sigmoid).double()
    module.load_state_dict(
        {
            'mlp.0.weight': wave(2, 4, freq=0.7, phase=0.1, amp=0.6),
            'mlp.0.bias': wave(2, freq=0.9, amp=0.1),
            'mlp.2.weight': wave(4, 2, freq=0.5, phase=0.3, amp=0.6),
            'mlp.2.bias': wave(4, freq=1.1, amp=0.1),
            'spatial.conv.weight': wave(
                1, 2, 7, 7, 7, freq=0.13, phase=0.2, amp=0.1
            ),
            'spatial.bn.weight': number(0.9),
            'spatial.bn.bias': number(0.05),
            'spatial.bn.running_mean': number(0.1),
            'spatial.bn.running_var': number(1.3),
            'spatial.bn.num_batches_tracked': torch.tensor(0),
        }
    )
    return module.eval()


@pytest.mark.parametrize('sigmoid', ['after', 'before'])
def test_stored_numbers_of_both_channel_gates(sigmoid: str) -> None:
    wanted = vectors()['cbam']
    module = stored(sigmoid)
    x = wave(2, 4, 3, 4, 5, freq=0.29)

    gate, out = module.channel_gate(x), module(x)

    gates = gate.new_tensor(wanted[f'channel_gate_sigmoid_{sigmoid}_sum'])
    torch.testing.assert_close(gate, gates, rtol=1e-11, atol=0)
    check_wave(out, wanted[f'out_{sigmoid}'])


@pytest.mark.parametrize(
    ('channels', 'count'), [(32, 850), (64, 1268), (96, 1942), (128, 2872)]
)
def test_parameters(channels: int, count: int) -> None:
    def size(module: CBAM3D) -> int:
        return sum(p.numel() for p in module.parameters())

    assert size(CBAM3D(channels)) == count
    assert size(CBAM3D(channels, norm=False)) == count - 2


def test_narrow_block_keeps_one_hidden_unit() -> None:
    assert CBAM3D(8).mlp[0].weight.shape == (1, 8)


def test_unknown_sigmoid_is_named() -> None:
    with pytest.raises(ConfigError, match="'between' is unknown"):
        CBAM3D(32, sigmoid='between')


@pytest.mark.parametrize('sigmoid', ['after', 'before'])
@pytest.mark.parametrize('norm', [True, False])
def test_identity_start(sigmoid: str, norm: bool) -> None:
    x = torch.randn(2, 5, 4, 3, 6)
    module = CBAM3D(5, sigmoid=sigmoid, norm=norm, identity_start=True)

    assert torch.equal(module(x), x)
