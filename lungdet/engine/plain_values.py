"""Values that a checkpoint may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def plain(value: Any) -> Any:
    """Convert to tensors, numbers, text, lists and dicts: torch's weights-only
    reader accepts nothing else.

    A class becomes the name under which it is registered.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, str | int | float | bool | None):
        return value
    return value.__name__ if isinstance(value, type) else str(value)
