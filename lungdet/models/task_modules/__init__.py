from lungdet.models.task_modules.anchors import AnchorGenerator3D
from lungdet.models.task_modules.assigners import (
    Assignment,
    CenterAssigner3D,
    MaxIoUAssigner3D,
)
from lungdet.models.task_modules.coder import DeltaBoxCoder3D
from lungdet.models.task_modules.samplers import AnchorSampler3D, RoISampler3D

__all__ = [
    'AnchorGenerator3D',
    'AnchorSampler3D',
    'Assignment',
    'CenterAssigner3D',
    'DeltaBoxCoder3D',
    'MaxIoUAssigner3D',
    'RoISampler3D',
]
