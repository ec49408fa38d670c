from lungdet.models.losses.detection import (
    FocalLoss3D,
    HardNegativeBCE,
    balanced_cross_entropy,
    smooth_l1_per_coordinate,
)
from lungdet.models.losses.dice import soft_dice_loss
from lungdet.models.losses.restoration import (
    RESTORATION_LOSSES,
    restoration_loss,
)

__all__ = [
    'RESTORATION_LOSSES',
    'FocalLoss3D',
    'HardNegativeBCE',
    'balanced_cross_entropy',
    'restoration_loss',
    'smooth_l1_per_coordinate',
    'soft_dice_loss',
]
