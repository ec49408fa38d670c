from lungdet.datasets.luna16_dataset import LUNA16Dataset
from lungdet.datasets.transforms import (
    LoadCase,
    LoadCrop,
    PackDetInputs,
    PlaceCrop,
    RandomAffine3D,
    RandomFlip3D,
    RandomGamma,
    RandomHUShiftScale,
    RandomNoiseBlur,
    RandomTransposeXY,
)

__all__ = [
    'LUNA16Dataset',
    'LoadCase',
    'LoadCrop',
    'PackDetInputs',
    'PlaceCrop',
    'RandomAffine3D',
    'RandomFlip3D',
    'RandomGamma',
    'RandomHUShiftScale',
    'RandomNoiseBlur',
    'RandomTransposeXY',
]
