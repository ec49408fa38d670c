"""How often the host waits for a value on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SYNCS = {
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.Tensor.cpu,
    torch.Tensor.item,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.equal,
    torch.nonzero,
}


class HostSyncs(TorchFunctionMode):
    """Count the calls that would make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += func in SYNCS
        return func(*args, **(kwargs or {}))
