from lungdet.datasets.transforms.base import (
    FixedTransform,
    NoParams,
    Sample,
    Transform,
)
from lungdet.datasets.transforms.genesis import (
    NonLinearIntensity,
    RepeatedFlip3D,
)
from lungdet.datasets.transforms.insertion import NoduleInsertion
from lungdet.datasets.transforms.intensity import (
    RandomBlur,
    RandomGamma,
    RandomHUShiftScale,
    RandomNoise,
)
from lungdet.datasets.transforms.loading import (
    LoadCandidates,
    LoadCase,
    LoadCrop,
)
from lungdet.datasets.transforms.lung_crop import LoadLungCrop
from lungdet.datasets.transforms.packing import PackDetInputs, PackPair
from lungdet.datasets.transforms.painting import (
    InPainting,
    OutPainting,
    Painting,
)
from lungdet.datasets.transforms.pixel_shuffle import (
    LocalPixelShuffle,
    TilePixelShuffle,
)
from lungdet.datasets.transforms.published import PublishedLoadCrop
from lungdet.datasets.transforms.rotation import RandomRotation3D
from lungdet.datasets.transforms.scanner import (
    RandomCorrelatedNoise,
    RandomSliceThickness,
)
from lungdet.datasets.transforms.spatial import (
    PlaceCrop,
    RandomAffine3D,
    RandomFlip3D,
    RandomTransposeXY,
)

__all__ = [
    'FixedTransform',
    'InPainting',
    'LoadCandidates',
    'LoadCase',
    'LoadCrop',
    'LoadLungCrop',
    'LocalPixelShuffle',
    'NoParams',
    'NoduleInsertion',
    'NonLinearIntensity',
    'OutPainting',
    'PackDetInputs',
    'PackPair',
    'Painting',
    'PlaceCrop',
    'PublishedLoadCrop',
    'RandomAffine3D',
    'RandomCorrelatedNoise',
    'RandomFlip3D',
    'RandomBlur',
    'RandomGamma',
    'RandomHUShiftScale',
    'RandomNoise',
    'RandomRotation3D',
    'RandomSliceThickness',
    'RandomTransposeXY',
    'RepeatedFlip3D',
    'Sample',
    'TilePixelShuffle',
    'Transform',
]
