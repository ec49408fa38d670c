"""The one mapping of HU to a window, for detection and pre-training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def window_share(hu: Tensor, window: Sequence[float]) -> Tensor:
    """HU of any type as a share of a window, float32 in [0, 1].

    Args:
        hu: HU, any shape.
        window: HU that become 0 and 1; clipped outside.
    """
    low, high = window
    return ((hu.float() - low) / (high - low)).clamp_(0, 1)
