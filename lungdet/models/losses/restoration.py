"""How far a restored volume is from the untouched one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

RESTORATION_LOSSES = {'l1': F.l1_loss, 'mse': F.mse_loss}


def restoration_loss(
    restored: Tensor,
    target: Tensor,
    kind: str = 'l1',
    *,
    region: Tensor | None = None,
) -> Tensor:
    """Mean error over all voxels, or over those of a region.

    Args:
        restored: Any shape.
        target: The same shape.
        kind: ``'l1'`` or ``'mse'``.
        region: Boolean, the same shape; None for all voxels. An empty region
            gives 0.

    Source: Models Genesis (Zhou et al. 2021): squared error in the public
        code; the absolute error is the text's.
    """
    error = RESTORATION_LOSSES[kind](restored, target, reduction='none')
    if region is None:
        return error.mean()
    return (error * region).sum() / region.sum().clamp(min=1)
