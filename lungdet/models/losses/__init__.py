from lungdet.models.losses.detection import (
    FocalLoss3D,
    HardNegativeBCE,
    balanced_cross_entropy,
    smooth_l1_per_coordinate,
)
from lungdet.models.losses.dice import soft_dice_loss
from lungdet.models.losses.restoration import (
    L1Loss,
    MSELoss,
    RestorationLoss,
)

__all__ = [
    'FocalLoss3D',
    'HardNegativeBCE',
    'L1Loss',
    'MSELoss',
    'RestorationLoss',
    'balanced_cross_entropy',
    'smooth_l1_per_coordinate',
    'soft_dice_loss',
]
