"""Checks that a network's outputs are finite."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.errors import DivergenceError


def check_finite(what: str, *values: Tensor) -> None:
    """Raise if values of a network are NaN or infinite.

    A threshold drops NaNs, so a broken network would detect nothing, and the
    scan would look healthy.

    Args:
        what: The values, for the message.
        values: Array of any shape.

    Raises:
        DivergenceError: One of them is not finite.

    Examples:
        >>> check_finite('scores', torch.tensor([0.1, 0.9]))
        >>> check_finite('scores', torch.tensor([0.1, torch.nan]))
        Traceback (most recent call last):
        ...
        lungdet.errors.DivergenceError: scores: 1 of 2 values ...
    """
    # a sum is not finite if a value is not; it is cheap and synchronises once
    sums = [value.sum() for value in values]
    if not sums or torch.isfinite(torch.stack(sums).sum()):
        return
    broken = sum(int((~torch.isfinite(value)).sum()) for value in values)
    if broken:
        raise DivergenceError(
            f'{what}: {broken} of {sum(v.numel() for v in values)} values are '
            'not finite (NaN or infinity), so nothing can be said of this '
            'scan. The weights are broken, or overflow in bfloat16: try '
            'without bfloat16, then another checkpoint.'
        )
