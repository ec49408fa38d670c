from lungdet.datasets.transforms.genesis import (
    InPainting,
    LocalPixelShuffle,
    NonLinearIntensity,
    OutPainting,
    Painting,
    RepeatedFlip3D,
)
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
from lungdet.datasets.transforms.pairs import LoadLungCrop, PackPair
from lungdet.datasets.transforms.spatial import (
    PlaceCrop,
    RandomAffine3D,
    RandomFlip3D,
    RandomTransposeXY,
)

__all__ = [
    'InPainting',
    'LoadCandidates',
    'LoadCase',
    'LoadCrop',
    'LoadLungCrop',
    'LocalPixelShuffle',
    'NonLinearIntensity',
    'OutPainting',
    'PackDetInputs',
    'PackPair',
    'Painting',
    'PlaceCrop',
    'RandomAffine3D',
    'RandomFlip3D',
    'RandomGamma',
    'RandomHUShiftScale',
    'RandomNoiseBlur',
    'RandomTransposeXY',
    'RepeatedFlip3D',
]
