from lungdet.datasets.transforms.intensity import (
    RandomGamma,
    RandomHUShiftScale,
    RandomNoiseBlur,
)
from lungdet.datasets.transforms.loading import (
    LoadCandidates,
    LoadCase,
    LoadCrop,
    PackDetInputs,
)
from lungdet.datasets.transforms.spatial import (
    PlaceCrop,
    RandomAffine3D,
    RandomFlip3D,
    RandomTransposeXY,
)

__all__ = [
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
