from lungdet.models.task_modules.anchors import AnchorGenerator3D
from lungdet.models.task_modules.assigners import (
    AssignResult,
    CenterAssigner3D,
    DistanceAssigner3D,
    MaxIoUAssigner3D,
)
from lungdet.models.task_modules.coder import DeltaBoxCoder3D
from lungdet.models.task_modules.post_processor import DetectionPostProcessor
from lungdet.models.task_modules.samplers import (
    AnchorSampler3D,
    RoISampler3D,
    SamplingResult,
)

__all__ = [
    'AnchorGenerator3D',
    'AnchorSampler3D',
    'AssignResult',
    'CenterAssigner3D',
    'DeltaBoxCoder3D',
    'DetectionPostProcessor',
    'DistanceAssigner3D',
    'MaxIoUAssigner3D',
    'RoISampler3D',
    'SamplingResult',
]
