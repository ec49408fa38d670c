from lungdet.models.plugins.cbam import CBAM3D
from lungdet.models.plugins.dropblock import DropBlock3D
from lungdet.models.plugins.gates import (
    ECA3D,
    SCSE3D,
    SE3D,
    CoordAttention3D,
    SimAM3D,
)
from lungdet.models.plugins.gating import in_float32
from lungdet.models.plugins.quartet import QuartetAttention
from lungdet.models.plugins.residual import (
    GRN3D,
    GlobalContext3D,
    NonLocal3D,
)

__all__ = [
    'CBAM3D',
    'CoordAttention3D',
    'DropBlock3D',
    'ECA3D',
    'GRN3D',
    'GlobalContext3D',
    'NonLocal3D',
    'QuartetAttention',
    'SCSE3D',
    'SE3D',
    'SimAM3D',
    'in_float32',
]
