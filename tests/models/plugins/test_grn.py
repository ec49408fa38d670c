from __future__ import annotations

import torch
from torch import nn

from lungdet.models.plugins import GRN3D
from tests.oracles.waves import check_wave, vectors, wave


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
