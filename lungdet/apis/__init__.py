from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.run import load_config, test, train

__all__ = ['NoduleInferencer', 'load_config', 'test', 'train']
