"""Deployment: ONNX export, and inference with ONNX Runtime or OpenVINO."""

from lungdet.deploy.export import export_onnx, read_export
from lungdet.deploy.runtimes import RUNTIMES, require
from lungdet.deploy.serving import graph_detector

__all__ = [
    'RUNTIMES',
    'export_onnx',
    'graph_detector',
    'read_export',
    'require',
]
