from lungdet.models.backbones.featurenet import FeatureNet
from lungdet.models.backbones.res_block import ResBlock3D

__all__ = ['FeatureNet', 'ResBlock3D']
