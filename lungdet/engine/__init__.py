from lungdet.engine.hooks import (
    LungCheckpointHook,
    StageScheduleHook,
    StopOnNaNHook,
)
from lungdet.engine.metrics import FROCMetric
from lungdet.engine.optim import BF16OptimWrapper
from lungdet.engine.resume import (
    ExactEpochLoop,
    ExactSampler,
    IterSeedHook,
    Key,
)
from lungdet.engine.runner import LungRunner
from lungdet.engine.start_record import StartRecordHook
from lungdet.engine.weights import load_detector

__all__ = [
    'BF16OptimWrapper',
    'ExactEpochLoop',
    'ExactSampler',
    'FROCMetric',
    'IterSeedHook',
    'Key',
    'LungCheckpointHook',
    'LungRunner',
    'StageScheduleHook',
    'StartRecordHook',
    'StopOnNaNHook',
    'load_detector',
]
