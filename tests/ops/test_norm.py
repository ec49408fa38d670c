from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lungdet.ops import BatchNorm3d

# a cache line of 16 floats is not filled; no two sides alike
SHAPES = [(2, 8, 5, 3, 4), (1, 24, 2, 6, 3), (3, 3, 4, 2, 5)]


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)


def norms(
    channels: int, dtype: torch.dtype
) -> tuple[BatchNorm3d, nn.BatchNorm3d]:
    norm, reference = BatchNorm3d(channels), nn.BatchNorm3d(channels)
    with torch.no_grad():
        norm.weight.uniform_(-2, 2)
        norm.bias.uniform_(-2, 2)
    reference.load_state_dict(norm.state_dict())
    return norm.to(dtype), reference.to(dtype)


def takes_rows(out: Tensor) -> bool:
    assert out.grad_fn is not None
    return 'RowNorm' in out.grad_fn.name()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('grad_lies', ['channels last', 'channels first'])
def test_rows_give_torchs_numbers(
    shape: tuple[int, ...], grad_lies: str
) -> None:
    torch.manual_seed(0)
    norm, reference = norms(shape[1], torch.float64)
    x = (3 + 2 * torch.randn(shape)).double()
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    grad = torch.randn(shape).double()
    if grad_lies == 'channels last':
        grad = grad.contiguous(memory_format=torch.channels_last_3d)

    out, wanted = norm(x), reference(x)
    grads = torch.autograd.grad(out, (x, norm.weight, norm.bias), grad)
    wanted_grads = torch.autograd.grad(
        wanted, (x, reference.weight, reference.bias), grad
    )

    assert takes_rows(out)
    torch.testing.assert_close(out, wanted, rtol=0, atol=0)
    for one, wanted_one in zip(grads, wanted_grads):
        torch.testing.assert_close(one, wanted_one, rtol=1e-11, atol=1e-11)
    for name, value in norm.state_dict().items():  # running values too
        assert torch.equal(value, reference.state_dict()[name]), name


def test_large_mean_loses_no_digits() -> None:
    torch.manual_seed(0)
    norm, reference = norms(8, torch.float32)
    x = 1000 + torch.randn(2, 8, 8, 8, 8)
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    exact = x.detach().double().requires_grad_()
    grad = torch.randn_like(x)

    (grad_x,) = torch.autograd.grad(norm(x), x, grad)
    (wanted,) = torch.autograd.grad(
        reference.double()(exact), exact, grad.double()
    )

    # 1000 is stored to 6e-5, of a spread of 1
    torch.testing.assert_close(grad_x.double(), wanted, rtol=0, atol=5e-4)


def test_bfloat16_maps_are_summed_in_float32() -> None:
    torch.manual_seed(0)
    norm, reference = norms(8, torch.float32)
    x = torch.randn(2, 8, 16, 16, 16).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    exact = x.detach().double().requires_grad_()
    grad = torch.randn_like(x)

    out = norm(x)
    grads = torch.autograd.grad(out, (x, norm.weight, norm.bias), grad)
    wanted = torch.autograd.grad(
        reference.double()(exact),
        (exact, reference.weight, reference.bias),
        grad.double(),
    )

    assert takes_rows(out)
    assert grads[0].dtype == torch.bfloat16
    torch.testing.assert_close(  # to bfloat16's rounding
        grads[0].double(), wanted[0], rtol=2**-8, atol=2**-9
    )
    for sums, wanted_sums in zip(grads[1:], wanted[1:]):
        torch.testing.assert_close(
            sums.double(), wanted_sums, rtol=1e-4, atol=1e-2
        )


@pytest.mark.parametrize(
    ('channels', 'memory', 'threads', 'training'),
    [
        (16, torch.channels_last_3d, 2, True),
        (40, torch.channels_last_3d, 2, True),
        (8, torch.contiguous_format, 2, True),
        (8, torch.channels_last_3d, 1, True),
        (8, torch.channels_last_3d, 2, False),
    ],
)
def test_torchs_kernel_where_it_is_faster(
    channels: int,
    memory: torch.memory_format,
    threads: int,
    training: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    norm, reference = norms(channels, torch.float32)
    norm.train(training)
    reference.train(training)
    x = torch.randn(2, channels, 4, 3, 2).contiguous(memory_format=memory)

    out = norm(x.requires_grad_())

    assert not takes_rows(out)
    assert torch.equal(out, reference(x))


def test_in_place_relu_after_it_trains() -> None:
    torch.manual_seed(0)
    norm, reference = norms(8, torch.float64)
    x = torch.randn(2, 8, 4, 3, 2, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()

    (grad_x,) = torch.autograd.grad(norm(x).relu_().square().sum(), x)

    (wanted,) = torch.autograd.grad(reference(x).relu_().square().sum(), x)
    torch.testing.assert_close(grad_x, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    'arguments',
    [
        {'affine': False},
        {'track_running_stats': False},
        {'momentum': None},
        {'eps': 1e-3, 'momentum': 0.01},
    ],
)
def test_arguments_are_torchs(arguments: dict) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 4, 3, 2)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    norm = BatchNorm3d(8, **arguments)
    reference = nn.BatchNorm3d(8, **arguments)

    assert torch.equal(norm(x), reference(x))
    for name, value in norm.state_dict().items():
        assert torch.equal(value, reference.state_dict()[name]), name
