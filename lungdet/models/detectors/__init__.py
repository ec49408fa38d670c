from lungdet.models.detectors.case_predictor import CasePredictor
from lungdet.models.detectors.ensemble import EnsembleDetector
from lungdet.models.detectors.graph_detector import GraphDetector, Graphs
from lungdet.models.detectors.nodulenet import NoduleNet
from lungdet.models.detectors.nodulenet_reference import (
    PublishedAnchorSampler3D,
    PublishedAssigner3D,
    PublishedMask3DHead,
    PublishedRoIHead,
    PublishedRoISampler3D,
)

__all__ = [
    'CasePredictor',
    'EnsembleDetector',
    'GraphDetector',
    'Graphs',
    'NoduleNet',
    'PublishedAnchorSampler3D',
    'PublishedAssigner3D',
    'PublishedMask3DHead',
    'PublishedRoIHead',
    'PublishedRoISampler3D',
]
