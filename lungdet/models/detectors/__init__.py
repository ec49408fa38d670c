from lungdet.models.detectors.nodulenet import NoduleNet

__all__ = ['NoduleNet']
