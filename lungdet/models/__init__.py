from lungdet.models.backbones import FeatureNet, ResBlock3D
from lungdet.models.data_preprocessor import (
    CTDataPreprocessor,
    RestorationPreprocessor,
)
from lungdet.models.dense_heads import RPN3DHead
from lungdet.models.detectors import NoduleNet
from lungdet.models.losses import FocalLoss3D, HardNegativeBCE
from lungdet.models.plugins import AttentionPlugin
from lungdet.models.roi_heads import (
    Mask3DHead,
    RCNN3DHead,
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
    MaxIoUAssigner3D,
    RoISampler3D,
)

__all__ = [
    'AnchorGenerator3D',
    'AnchorSampler3D',
    'AttentionPlugin',
    'CTDataPreprocessor',
    'CenterAssigner3D',
    'DeltaBoxCoder3D',
    'FeatureNet',
    'FocalLoss3D',
    'GenesisPretrainer',
    'HardNegativeBCE',
    'Mask3DHead',
    'MaskedAutoencoder',
    'MaxIoUAssigner3D',
    'NoduleNet',
    'RCNN3DHead',
    'RPN3DHead',
    'ResBlock3D',
    'RestorationHead',
    'RestorationPreprocessor',
    'RoIAlign3D',
    'RoICrop3D',
    'RoISampler3D',
]
