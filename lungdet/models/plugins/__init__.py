"""Plugins of residual blocks; a new one needs a file, and one line here."""

from lungdet.models.plugins.base import AttentionPlugin, pooling_plugins
from lungdet.models.plugins.cbam import CBAM3D
from lungdet.models.plugins.coord_attention import CoordAttention3D
from lungdet.models.plugins.dropblock import DropBlock3D
from lungdet.models.plugins.eca import ECA3D
from lungdet.models.plugins.gate_parts import in_float32
from lungdet.models.plugins.global_context import GlobalContext3D
from lungdet.models.plugins.grn import GRN3D
from lungdet.models.plugins.non_local import NonLocal3D
from lungdet.models.plugins.quartet import QuartetAttention
from lungdet.models.plugins.scse import SCSE3D
from lungdet.models.plugins.se import SE3D
from lungdet.models.plugins.simam import SimAM3D
