from lungdet.models.backbones import FeatureNet, ResBlock3D
from lungdet.models.data_preprocessor import (
    CTDataPreprocessor,
    RestorationPreprocessor,
)
from lungdet.models.dense_heads import RPN3DHead
from lungdet.models.detectors import NoduleNet
from lungdet.models.losses import FocalLoss3D, HardNegativeBCE
from lungdet.models.plugins import (
    CBAM3D,
    ECA3D,
    GRN3D,
    SCSE3D,
    SE3D,
    CoordAttention3D,
    DropBlock3D,
    GlobalContext3D,
    NonLocal3D,
    QuartetAttention,
    SimAM3D,
)
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
    'CBAM3D',
    'CTDataPreprocessor',
    'CenterAssigner3D',
    'CoordAttention3D',
    'DeltaBoxCoder3D',
    'DropBlock3D',
    'ECA3D',
    'FeatureNet',
    'FocalLoss3D',
    'GRN3D',
    'GenesisPretrainer',
    'GlobalContext3D',
    'HardNegativeBCE',
    'Mask3DHead',
    'MaskedAutoencoder',
    'MaxIoUAssigner3D',
    'NoduleNet',
    'NonLocal3D',
    'QuartetAttention',
    'RCNN3DHead',
    'RPN3DHead',
    'ResBlock3D',
    'RestorationHead',
    'RestorationPreprocessor',
    'RoIAlign3D',
    'RoICrop3D',
    'RoISampler3D',
    'SCSE3D',
    'SE3D',
    'SimAM3D',
]
