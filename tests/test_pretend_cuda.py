"""The pretended GPU refuses and counts what a real one would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretend_cuda import PretendCuda, is_cuda, to_pretended_gpu


def test_tensors_know_their_device_and_pass_it_on() -> None:
    with PretendCuda() as gpu:
        x = torch.zeros(3, device='cuda')
        y = torch.arange(3, device=x.device) + 1

        assert x.device.type == y.device.type == 'cuda'
        assert x.is_cuda and is_cuda(torch.stack([x, y]).sum())
        assert is_cuda(torch.zeros_like(y)) and is_cuda(y.new_zeros(2))
        assert torch.ones(2).device.type == 'cpu'
        assert gpu.waits == []


def test_devices_do_not_mix_but_for_numbers_and_indices() -> None:
    with PretendCuda():
        there, here = torch.arange(4, device='cuda'), torch.arange(4)

        for mixed in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: here[there > 1],
            lambda: torch.where(there > 1, here, there),
        ):
            with pytest.raises(RuntimeError, match='device'):
                mixed()
        for read in (np.asarray, torch.Tensor.numpy):
            with pytest.raises(TypeError, match='to numpy'):
                read(there)
        assert is_cuda(there + torch.tensor(2))
        assert is_cuda(there[here])


@pytest.mark.parametrize(
    ('read', 'name'),
    [
        (lambda x: bool((x > 1).any()), '__bool__'),
        (lambda x: x.sum().item(), 'item'),
        (lambda x: x.tolist(), 'tolist'),
        (lambda x: x[x > 1], '__getitem__'),
        (lambda x: torch.nonzero(x), 'nonzero'),
        (lambda x: torch.argwhere(x), 'argwhere'),
        (lambda x: nn.functional.one_hot(x), 'one_hot'),
        (lambda x: torch.equal(x, x), 'equal'),
        (lambda x: torch.bincount(x), 'bincount'),
        (lambda x: x.unique(), 'unique'),
        (lambda x: x.cpu(), 'cpu'),
        (lambda x: x.to('cpu'), 'to'),
        (lambda x: x.to('cpu', non_blocking=True), 'to'),
        (lambda x: torch.ones(2).to('cuda'), 'to'),
        (lambda x: x.new_tensor([1, 2]), 'new_tensor'),
        (lambda x: torch.tensor([1, 2], device='cuda'), 'tensor'),
    ],
)
def test_what_makes_the_host_wait_is_counted(read, name: str) -> None:
    with PretendCuda() as gpu:
        x = torch.arange(4, device='cuda')
        assert gpu.waits == []

        read(x)

        assert gpu.waits == [name]


def test_what_the_host_need_not_wait_for_is_not_counted() -> None:
    with PretendCuda() as gpu:
        x = torch.arange(4, device='cuda')

        copy = torch.ones(4).to('cuda', non_blocking=True)
        x[x > 1] = 0
        chosen = torch.where(x > 1, x, copy)[1:].topk(2).values
        chosen.to(x)

        assert gpu.waits == [] and is_cuda(chosen)


def test_a_module_is_put_there_and_learns() -> None:
    net = to_pretended_gpu(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    with PretendCuda() as gpu:
        with pytest.raises(RuntimeError, match='device'):
            net(torch.ones(4, 3))

        out = net(torch.randn(4, 3, device='cuda'))
        (out**2).sum().backward()

        assert is_cuda(out) and gpu.waits == []
    assert net[0].weight.grad.abs().sum() > 0
