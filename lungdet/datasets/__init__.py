from lungdet.datasets.luna16_dataset import LUNA16Dataset
from lungdet.datasets.transforms import (
    LoadCandidates,
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
    'LoadCandidates',
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
