from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lungdet.errors import ConfigError
from lungdet.ops import map_conv

# shorter than the kernel, around one block of 16, no two sides alike
SHAPES = [(2, 2, 17, 3, 6), (1, 2, 16, 9, 1), (1, 3, 5, 40, 7)]


@pytest.mark.parametrize('size', [3, 7])
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', ['auto', 'fold', 'fft'])
def test_every_method_is_torchs_own_convolution(
    method: str, shape: tuple[int, ...], size: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, shape[1], *(size,) * 3, dtype=torch.float64)
    weight.requires_grad_()
    wanted = F.conv3d(x, weight, padding=size // 2)
    seed = torch.randn_like(wanted)
    wanted_grads = torch.autograd.grad(wanted, (x, weight), seed)

    out = map_conv(x, weight, method)
    grads = torch.autograd.grad(out, (x, weight), seed)

    torch.testing.assert_close(out, wanted, rtol=1e-12, atol=1e-12)
    for grad, wanted_grad in zip(grads, wanted_grads):
        torch.testing.assert_close(grad, wanted_grad, rtol=1e-12, atol=1e-11)


def test_single_precision_error_is_relative_to_the_largest_value() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 20, 21, 22), torch.randn(1, 2, 7, 7, 7)
    x[0, 0, 3, 3, 3] = 1000
    exact = map_conv(x.double(), weight.double(), 'direct')

    for method in ('direct', 'fold', 'fft'):
        error = (map_conv(x, weight, method) - exact).abs().max()
        assert error < 1e-6 * exact.abs().max(), method


def test_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="'winograd' is unknown"):
        map_conv(
            torch.zeros(1, 2, 3, 3, 3), torch.zeros(1, 2, 7, 7, 7), 'winograd'
        )
