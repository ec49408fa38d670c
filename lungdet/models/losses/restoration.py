"""Losses between a restored volume and the original."""

from __future__ import annotations

from typing import ClassVar

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from lungdet.registry import MODELS


class RestorationLoss(BaseModule):
    """Mean error over all voxels, those of a region, or weighted.

    A subclass defines the error of a voxel in ``error``.

    Attributes:
        kind: The error that validation uses for a model with this loss,
            ``'l1'`` or ``'mse'``.

    Args:
        loss_weight: Factor.
    """

    kind: ClassVar[str]

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def error(self, restored: Tensor, target: Tensor) -> Tensor:
        """Error of each voxel, the same shape."""
        raise NotImplementedError

    def forward(
        self, restored: Tensor, target: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """A scalar.

        Args:
            restored: Any shape.
            target: The same shape.
            weights: Weights of the voxels, or boolean, the same shape; None
                for all alike. An empty region gives 0.
        """
        error = self.error(restored, target)
        if weights is None:
            return self.loss_weight * error.mean()
        mean = (error * weights).sum() / weights.sum().clamp(min=1)
        return self.loss_weight * mean


@MODELS.register_module()
class L1Loss(RestorationLoss):
    """Mean absolute error.

    Source: Models Genesis (Zhou et al. 2021), its text.
    """

    kind = 'l1'

    def error(self, restored: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(restored, target, reduction='none')


@MODELS.register_module()
class MSELoss(RestorationLoss):
    """Mean squared error.

    Source: Models Genesis (Zhou et al. 2021), its public code.
    """

    kind = 'mse'

    def error(self, restored: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(restored, target, reduction='none')
