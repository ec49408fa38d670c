from lungdet.engine.backbone_file import export_backbone, read_backbone
from lungdet.engine.detector import load_detector
from lungdet.engine.hard_negatives import HardNegativeHook
from lungdet.engine.hooks import (
    HeadScheduleHook,
    LungCheckpointHook,
    StopOnNaNHook,
)
from lungdet.engine.metrics import FROCMetric
from lungdet.engine.optim import (
    BF16OptimWrapper,
    MergedOptimWrapperConstructor,
)
from lungdet.engine.pretraining_hooks import (
    CollapseAlarmHook,
    DataMeanHook,
    ExportBackboneHook,
    RestorationPicturesHook,
    StartWithMSEHook,
)
from lungdet.engine.restoration_metric import RestorationMetric
from lungdet.engine.resume import (
    ExactEpochLoop,
    ExactSampler,
    IterSeedHook,
    LateBatchSampler,
    MixSampler,
)
from lungdet.engine.run_manifest import RunManifestHook
from lungdet.engine.runner import LungRunner
from lungdet.engine.screen import ProgressHook
from lungdet.seeds import Key

__all__ = [
    'BF16OptimWrapper',
    'CollapseAlarmHook',
    'DataMeanHook',
    'ExactEpochLoop',
    'ExactSampler',
    'ExportBackboneHook',
    'FROCMetric',
    'HardNegativeHook',
    'HeadScheduleHook',
    'IterSeedHook',
    'Key',
    'LateBatchSampler',
    'LungCheckpointHook',
    'LungRunner',
    'MergedOptimWrapperConstructor',
    'MixSampler',
    'ProgressHook',
    'RestorationMetric',
    'RestorationPicturesHook',
    'RunManifestHook',
    'StartWithMSEHook',
    'StopOnNaNHook',
    'export_backbone',
    'load_detector',
    'read_backbone',
]
