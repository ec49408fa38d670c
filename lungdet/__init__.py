"""Lung nodule detection in chest CT."""

__version__ = '0.1.0'
