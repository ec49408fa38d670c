from __future__ import annotations

import pytest
import torch

from lungdet.ops import Conv3d, computes_bfloat16


@pytest.mark.parametrize('depth', [1, 2, 3, 4])
def test_weight_gradients_in_bfloat16_are_those_of_float32(depth: int) -> None:
    if not computes_bfloat16('cpu'):
        pytest.skip('this CPU has no bfloat16 arithmetic')
    generator = torch.Generator().manual_seed(depth)
    x = torch.randn(2, 24, depth, 5, 7, generator=generator)
    conv = Conv3d(24, 16, 3, padding=1)
    wanted = torch.randn(2, 16, depth, 5, 7, generator=generator)
    conv(x).backward(wanted)
    exact = conv.weight.grad.clone()

    for _ in range(3):
        # values that were never written show only in memory that was used
        del [torch.full((1 << 20,), 1e30) for _ in range(4)][:]
        conv.weight.grad = None
        with torch.autocast('cpu', torch.bfloat16):
            out = conv(x)
        out.backward(wanted.to(out.dtype))

        error = (conv.weight.grad - exact).norm() / exact.norm()
        assert error < 0.02  # bfloat16 has 8 bits


def test_other_types_and_maps_are_torchs() -> None:
    conv = Conv3d(2, 3, 3, padding=1).double()
    x = torch.randn(1, 2, 2, 4, 5, dtype=torch.float64)

    torch.testing.assert_close(
        conv(x),
        torch.nn.functional.conv3d(x, conv.weight, conv.bias, padding=1),
    )
    with torch.autocast('cpu', torch.bfloat16):
        assert conv.float()(x.float()).dtype == torch.float32
        assert conv(torch.randn(1, 2, 4, 4, 5)).dtype == torch.bfloat16
