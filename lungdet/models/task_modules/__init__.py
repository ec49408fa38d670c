from lungdet.models.task_modules.anchors import AnchorGenerator3D
from lungdet.models.task_modules.assigners import (
    Assigner3D,
    AssignResult,
    CenterAssigner3D,
    DistanceAssigner3D,
    MaxIoUAssigner3D,
)
from lungdet.models.task_modules.atss import ATSSAssigner3D
from lungdet.models.task_modules.box_clustering import (
    WeightedBoxClustering,
)
from lungdet.models.task_modules.coder import DeltaBoxCoder3D
from lungdet.models.task_modules.post_processor import DetectionPostProcessor
from lungdet.models.task_modules.samplers import (
    AnchorSampler3D,
    RoISampler3D,
    SamplingResult,
)

__all__ = [
    'ATSSAssigner3D',
    'AnchorGenerator3D',
    'AnchorSampler3D',
    'AssignResult',
    'Assigner3D',
    'CenterAssigner3D',
    'DeltaBoxCoder3D',
    'DetectionPostProcessor',
    'DistanceAssigner3D',
    'MaxIoUAssigner3D',
    'RoISampler3D',
    'SamplingResult',
    'WeightedBoxClustering',
]
