"""bfloat16 training on CPU and GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper

from lungdet.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16; no loss scaling is needed.

    mmengine's AmpOptimWrapper refuses CPUs.
    """

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model):
            with torch.autocast(device, torch.bfloat16):
                yield
