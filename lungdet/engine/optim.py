"""bfloat16 training on CPU and GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.optim import OptimWrapper

from lungdet.ops import bfloat16_autocast
from lungdet.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16; no loss scaling is needed.

    mmengine's AmpOptimWrapper refuses CPUs. On a CPU without bfloat16
    arithmetic training stays float32, with a warning.
    """

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model):
            with bfloat16_autocast(device):
                yield
