"""Tensors that pretend to be on a GPU, on machines without one.

A ``CudaTensor`` holds its values on the CPU, says that its device is
``cuda:0``, refuses what a GPU refuses, and counts what makes the host wait
for the GPU: values that are read, results whose size depends on values, copies
to the host, and copies from it that are not ``non_blocking``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CUDA = torch.device('cuda', 0)
READS = {
    Tensor.__bool__,
    Tensor.__contains__,
    Tensor.__float__,
    Tensor.__index__,
    Tensor.__int__,
    Tensor.__repr__,
    Tensor.item,
    Tensor.tolist,
    torch.equal,
    Tensor.equal,
    torch.allclose,
}
SIZED_BY_VALUES = {
    torch.argwhere,
    torch.bincount,
    torch.masked_select,
    torch.nn.functional.one_hot,
    torch.nonzero,
    torch.repeat_interleave,
    torch.unique,
    Tensor.argwhere,
    Tensor.bincount,
    Tensor.masked_select,
    Tensor.nonzero,
    Tensor.repeat_interleave,
    Tensor.unique,
}
COPIES = {Tensor.copy_, Tensor.cpu, Tensor.cuda, Tensor.to}
FROM_HOST = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
GET, SET = Tensor.__getitem__, Tensor.__setitem__


class CudaTensor(Tensor):
    """A tensor that ``PretendCuda`` treats as one on the GPU."""


class PretendCuda(TorchFunctionMode):
    """While it is active, ``device='cuda'`` makes ``CudaTensor``.

    Attributes:
        waits: Names of the calls at which the host waited, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return CUDA if is_cuda(args[0]) else torch.device('cpu')
        if func == Tensor.is_cuda.__get__:
            return is_cuda(args[0])
        target, args, kwargs = without_device(func, args, kwargs)
        tensors = list(tensors_of((args, kwargs)))
        on_gpu = any(map(is_cuda, tensors))
        if func in COPIES:
            return self.copied(func, args, kwargs, target)
        if on_gpu:
            check_devices(func, args, tensors)
        if waits(func, args, on_gpu or target == 'cuda'):
            self.waits.append(func.__name__)
        result = func(*args, **kwargs)
        if func is SET or getattr(func, '__name__', '') == '__set__':
            return result
        return pretend(result) if on_gpu or target == 'cuda' else result

    def copied(
        self, func: Any, args: tuple, kwargs: dict, target: str | None
    ) -> Any:
        """``copy_``, ``to`` and so on; a wait if it crosses devices and
        blocks."""
        source = args[0]
        if func is Tensor.copy_:
            crosses = is_cuda(args[0]) != is_cuda(args[1])
            to_gpu = is_cuda(source)
        else:
            target = {Tensor.cpu: 'cpu', Tensor.cuda: 'cuda'}.get(func, target)
            if (
                target is None
                and len(args) > 1
                and isinstance(args[1], Tensor)
            ):
                target = 'cuda' if is_cuda(args[1]) else 'cpu'
            to_gpu = is_cuda(source) if target is None else target == 'cuda'
            crosses = to_gpu != is_cuda(source)
        # a value may be read only when its copy to the host has arrived
        if crosses and not (to_gpu and kwargs.get('non_blocking')):
            self.waits.append(func.__name__)
        if func in (Tensor.cpu, Tensor.cuda):
            result = source.clone() if crosses else source
        else:
            result = func(*args, **kwargs)
        if func is Tensor.copy_:
            return result
        return pretend(result) if to_gpu else plain(result)


def is_cuda(value: Any) -> bool:
    """Whether a tensor is a pretended one."""
    return isinstance(value, CudaTensor)


def pretend(value: Any) -> Any:
    """The same tensors, in any container, as if on the GPU."""
    if isinstance(value, Tensor):
        return value if is_cuda(value) else value.as_subclass(CudaTensor)
    if isinstance(value, tuple | list):
        kind = list if isinstance(value, list) else tuple
        try:
            return type(value)(kind(map(pretend, value)))
        except TypeError:
            return kind(map(pretend, value))
    return value


def plain(value: Tensor) -> Tensor:
    """The same values on the CPU."""
    with torch._C.DisableTorchFunctionSubclass():
        return value.as_subclass(Tensor) if is_cuda(value) else value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Tensors in arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_of(item)


def without_device(
    func: Any, args: tuple, kwargs: dict
) -> tuple[str | None, tuple, dict]:
    """The device that is asked for, and arguments that a CPU accepts."""
    target = None
    if kwargs.get('device') is not None:
        target = torch.device(kwargs['device']).type
        kwargs = {**kwargs, 'device': 'cpu'}
    if func is Tensor.to and len(args) > 1:
        if isinstance(args[1], torch.device | str):
            target = torch.device(args[1]).type
            args = (args[0], 'cpu', *args[2:])
    return target, args, kwargs


def check_devices(func: Any, args: tuple, tensors: list[Tensor]) -> None:
    """Raise where a GPU would.

    Raises:
        TypeError: A tensor on the GPU is read as an array.
        RuntimeError: Tensors of both devices meet, other than as a number or
            as an index into a tensor on the GPU.
    """
    if func in (Tensor.__array__, Tensor.numpy):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")
    if func in (GET, SET):
        if not is_cuda(args[0]) and any(map(is_cuda, tensors_of(args[1]))):
            raise RuntimeError(
                'indices should be either on cpu or on the same device as '
                'the indexed tensor (cpu)'
            )
        return
    if func.__name__ in ('__get__', '__set__'):
        return
    if any(not is_cuda(value) and value.dim() for value in tensors):
        raise RuntimeError(
            f'{func.__name__}: expected all tensors to be on the same device, '
            'but found at least two devices, cuda:0 and cpu!'
        )


def waits(func: Any, args: tuple, on_gpu: bool) -> bool:
    """Whether the host waits for the GPU in a call."""
    if not on_gpu:
        return False
    if func in READS or func in SIZED_BY_VALUES or func in FROM_HOST:
        return True
    if func is torch.where or func is Tensor.where:
        return len(args) == 1
    if func in (GET, SET):
        indices = list(tensors_of(args[1]))
        by_mask = any(i.dtype == torch.bool and i.dim() for i in indices)
        from_cpu = any(not is_cuda(i) and i.dim() for i in indices)
        parts = args[1] if isinstance(args[1], tuple) else (args[1],)
        from_list = any(isinstance(part, list) for part in parts)
        is_number = func is SET and not isinstance(args[2], Tensor)
        return from_cpu or from_list or (by_mask and not is_number)
    return False


def to_pretended_gpu(module: nn.Module) -> nn.Module:
    """Put a module's parameters and buffers on the pretended GPU."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            fake = pretend(value.detach().clone())
            part.register_parameter(name, nn.Parameter(fake))
        for name, value in part.named_buffers(recurse=False):
            setattr(part, name, pretend(value.clone()))
    return module
