from lungdet.models.losses.detection import (
    BalancedCrossEntropy,
    FocalLoss3D,
    HardNegativeBCE,
    SmoothL1BoxLoss,
)
from lungdet.models.losses.dice import SoftDiceLoss
from lungdet.models.losses.diou import DIoUBoxLoss
from lungdet.models.losses.restoration import (
    L1Loss,
    MSELoss,
    RestorationLoss,
)

__all__ = [
    'BalancedCrossEntropy',
    'DIoUBoxLoss',
    'FocalLoss3D',
    'HardNegativeBCE',
    'L1Loss',
    'MSELoss',
    'RestorationLoss',
    'SmoothL1BoxLoss',
    'SoftDiceLoss',
]
