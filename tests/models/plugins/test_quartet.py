"""Quartet attention against the permuting form and stored numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lungdet.models.plugins import QuartetAttention
from tests.oracles.quartet import PermutingQuartet
from tests.oracles.waves import check_wave, vectors, wave

FOUR_SIZES = (2, 5, 6, 7, 9)  # a turned kernel cannot hide in equal sizes


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def stored_state() -> dict[str, Tensor]:
    state = {}
    for a in range(4):
        state |= {
            f'branches.{a}.conv.weight': wave(
                1, 2, 7, 7, 7, freq=0.11, phase=0.5 * a, amp=0.1
            ),
            f'branches.{a}.bn.weight': number(1 + 0.1 * a),
            f'branches.{a}.bn.bias': number(0.05 * a),
            f'branches.{a}.bn.running_mean': number(0.02 * a),
            f'branches.{a}.bn.running_var': number(1 + 0.2 * a),
            f'branches.{a}.bn.num_batches_tracked': torch.tensor(0),
        }
    return state


def loaded(state: dict[str, Tensor], **kwargs: object) -> QuartetAttention:
    module = QuartetAttention(in_channels=3, **kwargs).double()
    module.load_state_dict(state)
    return module


def pair(
    seed: int = 0, conv: str = 'auto'
) -> tuple[QuartetAttention, PermutingQuartet]:
    """Both forms with the same random weights and statistics, float64."""
    torch.manual_seed(seed)
    oracle = PermutingQuartet(FOUR_SIZES[1]).double()
    for branch in oracle.branches:
        nn.init.uniform_(branch.bn.weight, 0.5, 2)
        nn.init.uniform_(branch.bn.bias, -1, 1)
        nn.init.uniform_(branch.bn.running_mean, -1, 1)
        nn.init.uniform_(branch.bn.running_var, 0.5, 2)
    module = QuartetAttention(FOUR_SIZES[1], conv).double()
    module.load_state_dict(oracle.state_dict())
    return module, oracle


def run(
    module: nn.Module, x: Tensor, seed: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Output, gradients of the input and of every parameter, statistics."""
    x = x.clone().requires_grad_()
    out = module(x)
    grads = torch.autograd.grad(out, [x, *module.parameters()], seed)
    return out.detach(), list(grads), list(module.buffers())


def assert_same(actual: tuple, wanted: tuple) -> None:
    """Of two results of ``run``."""
    for value, wanted_value in zip(
        [actual[0], *actual[1], *actual[2]],
        [wanted[0], *wanted[1], *wanted[2]],
    ):
        torch.testing.assert_close(value, wanted_value, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('conv', ['auto', 'direct', 'fold', 'fft'])
@pytest.mark.parametrize('last', [False, True], ids=['', 'channels_last'])
def test_agrees_with_the_permuting_form(
    conv: str, training: bool, last: bool
) -> None:
    module, oracle = pair(conv=conv)
    module.train(training)
    oracle.train(training)
    x, seed = torch.randn(2, *FOUR_SIZES, dtype=torch.float64)
    wanted = run(oracle, x, seed)
    if last:
        x = x.contiguous(memory_format=torch.channels_last_3d)

    actual = run(module, x, seed)

    assert_same(actual, wanted)
    out = actual[0]
    assert out.is_contiguous(memory_format=torch.channels_last_3d) == last


def test_stored_numbers_in_evaluation() -> None:
    wanted = vectors()['qam']
    module = loaded(stored_state()).eval()
    gates = {}
    for axis, branch in zip('CDHW', module.branches):
        branch.register_forward_hook(
            lambda _, __, out, axis=axis: gates.update({axis: out.squeeze(1)})
        )
    x = wave(2, 3, 4, 5, 6, freq=0.37).requires_grad_()

    out = module(x)
    (out * wave(*out.shape, freq=0.53, phase=0.2)).sum().backward()

    check_wave(out, wanted['eval_out'])
    check_wave(x.grad, wanted['eval_grad_x'])
    for dim, axis in enumerate('CDHW', start=1):
        check_wave(gates[axis].unsqueeze(dim), wanted['eval_gates'][axis])


def test_stored_numbers_in_training() -> None:
    wanted = vectors()['qam']
    module = loaded(stored_state()).train()
    x = wave(2, 3, 4, 5, 6, freq=0.37).requires_grad_()

    out = module(x)
    (out * wave(*out.shape, freq=0.53, phase=0.2)).sum().backward()

    check_wave(out, wanted['train_out'])
    check_wave(x.grad, wanted['train_grad_x'])
    c, d, h, w = module.branches
    check_wave(h.conv.weight.grad, wanted['train_grad_kernel_H'])
    check_wave(w.conv.weight.grad, wanted['train_grad_kernel_W'])
    actual = torch.cat([b.bn.running_mean for b in (c, d, h, w)])
    torch.testing.assert_close(
        actual,
        actual.new_tensor(wanted['running_mean_after']),
        rtol=1e-11,
        atol=0,
    )
    actual = torch.cat([b.bn.running_var for b in (c, d, h, w)])
    torch.testing.assert_close(
        actual,
        actual.new_tensor(wanted['running_var_after']),
        rtol=1e-11,
        atol=0,
    )


def test_state_dict_is_the_permuting_forms_whatever_the_form() -> None:
    names = list(PermutingQuartet(3).state_dict())

    for conv in ('auto', 'direct', 'fold', 'fft'):
        module = QuartetAttention(7, conv)
        assert list(module.state_dict()) == names
        assert sum(p.numel() for p in module.parameters()) == 2752


def test_tied_maxima_share_the_gradient() -> None:
    # after a ReLU whole lines are 0; amax' gradient is the measure
    module, _ = pair()
    x, seed = torch.randn(2, *FOUR_SIZES, dtype=torch.float64)
    x = (x - 1.5).relu()
    assert ((x == x.amax(1, keepdim=True)).sum(1) > 1).any()

    _, grads, _ = run(module, x, seed)

    def literal(x: Tensor) -> Tensor:
        total = 0
        for axis, branch in enumerate(module.branches, start=1):
            y = x.transpose(1, axis)
            maps = torch.stack([y.amax(1), y.mean(1)], dim=1)
            gate = torch.sigmoid(branch.bn(branch.conv(maps)))
            total = total + (y * gate).transpose(1, axis)
        return total / 4

    x.requires_grad_()
    wanted = torch.autograd.grad(literal(x), [x, *module.parameters()], seed)
    for grad, wanted_grad in zip(grads, wanted):
        torch.testing.assert_close(grad, wanted_grad, rtol=1e-11, atol=1e-12)


@pytest.fixture
def plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form that GPUs and compiled code take, without either."""
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)


@pytest.mark.usefixtures('plain_form')
@pytest.mark.parametrize('last', [False, True], ids=['', 'channels_last'])
def test_plain_form_agrees(last: bool) -> None:
    module, oracle = pair()
    x, seed = torch.randn(2, *FOUR_SIZES, dtype=torch.float64)
    wanted = run(oracle, x, seed)
    if last:
        x = x.contiguous(memory_format=torch.channels_last_3d)

    assert_same(run(module, x, seed), wanted)


@pytest.mark.slow  # tracing alone takes seconds
def test_compiled_form_agrees() -> None:
    module, oracle = pair()
    x, seed = torch.randn(2, *FOUR_SIZES, dtype=torch.float64)
    wanted = run(oracle, x, seed)
    # no generated code: what is traced is what matters, not the compiler
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True)

    assert_same(run(compiled, x, seed), wanted)


@pytest.mark.usefixtures('plain_form')
def test_plain_form_in_half_precision() -> None:
    # gates are float32; the output is rounded once, each of the gradient's
    # nine parts too, to 8 bits
    module, _ = pair()
    module.float()
    x, seed = torch.randn(2, *FOUR_SIZES).bfloat16()
    wanted = run(module, x.float(), seed.float())

    with torch.autocast('cpu', torch.bfloat16):
        out, grads, _ = run(module, x, seed)

    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), wanted[0], rtol=2**-8, atol=1e-6)
    error = (grads[0].float() - wanted[1][0]).abs().max()
    assert error < 9 * 2**-9 * wanted[1][0].abs().max()


def test_half_precision_is_rounded_once() -> None:
    # gates and products are float32: only the output is rounded to 8 bits
    module, _ = pair()
    module.float().eval()
    x = torch.randn(FOUR_SIZES).bfloat16()
    exact = module(x.float())

    with torch.autocast('cpu', torch.bfloat16):
        out = module(x)

    assert torch.equal(out, exact.bfloat16())


def test_half_precision_gradient_is_rounded_once() -> None:
    module, _ = pair()
    module.float()
    x, seed = torch.randn(2, *FOUR_SIZES).bfloat16()
    _, wanted, _ = run(module, x.float(), seed.float())

    with torch.autocast('cpu', torch.bfloat16):
        _, grads, _ = run(module, x, seed)

    assert torch.equal(grads[0], wanted[0].bfloat16())


def test_identity_start() -> None:
    x = torch.randn(FOUR_SIZES)

    assert torch.equal(QuartetAttention(5, identity_start=True)(x), x)


def test_fresh_gates_lie_around_a_half() -> None:
    torch.manual_seed(0)
    x = torch.randn(FOUR_SIZES)

    gates = (QuartetAttention(5)(x) / x).detach()

    assert abs(float(gates.mean()) - 0.5) < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_on_a_gpu_agrees_with_the_permuting_form() -> None:
    module, oracle = pair()
    module.train().cuda()
    x, seed = torch.randn(2, *FOUR_SIZES, dtype=torch.float64)
    wanted = run(oracle.train(), x, seed)

    actual = run(module, x.cuda(), seed.cuda())

    assert_same(
        [actual[0].cpu(), *(map(Tensor.cpu, v) for v in actual[1:])], wanted
    )
