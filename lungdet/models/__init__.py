from lungdet.models.backbones import FeatureNet, ResBlock3D
from lungdet.models.data_preprocessor import (
    CTDataPreprocessor,
    RestorationPreprocessor,
)
from lungdet.models.dense_heads import RPN3DHead
from lungdet.models.detectors import (
    CasePredictor,
    NoduleNet,
    PublishedAnchorSampler3D,
    PublishedAssigner3D,
    PublishedMask3DHead,
    PublishedRoIHead,
    PublishedRoISampler3D,
)
from lungdet.models.losses import (
    BalancedCrossEntropy,
    FocalLoss3D,
    HardNegativeBCE,
    L1Loss,
    MSELoss,
    RestorationLoss,
    SmoothL1BoxLoss,
    SoftDiceLoss,
)
from lungdet.models.plugins import AttentionPlugin
from lungdet.models.roi_heads import (
    BBox3DHead,
    Mask3DHead,
    NoduleRoIHead,
    RoIAlign3D,
    RoICrop3D,
)
from lungdet.models.ssl import (
    GenesisPretrainer,
    MaskedAutoencoder,
    RestorationHead,
)
from lungdet.models.task_modules import (
    AnchorGenerator3D,
    AnchorSampler3D,
    CenterAssigner3D,
    DeltaBoxCoder3D,
    DetectionPostProcessor,
    DistanceAssigner3D,
    MaxIoUAssigner3D,
    RoISampler3D,
)

__all__ = [
    'AnchorGenerator3D',
    'AnchorSampler3D',
    'AttentionPlugin',
    'BBox3DHead',
    'BalancedCrossEntropy',
    'CTDataPreprocessor',
    'CasePredictor',
    'CenterAssigner3D',
    'DeltaBoxCoder3D',
    'DetectionPostProcessor',
    'DistanceAssigner3D',
    'FeatureNet',
    'FocalLoss3D',
    'GenesisPretrainer',
    'HardNegativeBCE',
    'L1Loss',
    'MSELoss',
    'Mask3DHead',
    'MaskedAutoencoder',
    'MaxIoUAssigner3D',
    'NoduleNet',
    'NoduleRoIHead',
    'PublishedAnchorSampler3D',
    'PublishedAssigner3D',
    'PublishedMask3DHead',
    'PublishedRoIHead',
    'PublishedRoISampler3D',
    'RPN3DHead',
    'ResBlock3D',
    'RestorationHead',
    'RestorationLoss',
    'RestorationPreprocessor',
    'RoIAlign3D',
    'RoICrop3D',
    'RoISampler3D',
    'SmoothL1BoxLoss',
    'SoftDiceLoss',
]
