"""Plugins of residual blocks. A new one is its file and one line here."""

from lungdet.models.plugins.base import AttentionPlugin, pooling_plugins
from lungdet.models.plugins.cbam import CBAM3D
from lungdet.models.plugins.dropblock import DropBlock3D
from lungdet.models.plugins.gates import ECA3D, SCSE3D, SE3D
from lungdet.models.plugins.gates import CoordAttention3D, SimAM3D
from lungdet.models.plugins.gating import in_float32
from lungdet.models.plugins.quartet import QuartetAttention
from lungdet.models.plugins.residual import GRN3D, GlobalContext3D, NonLocal3D
