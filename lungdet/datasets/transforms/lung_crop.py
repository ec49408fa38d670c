"""Unlabelled crops of lung, for pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.reading import draw_lung_voxel, read_region
from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.registry import TRANSFORMS

SOLID_HU = -150  # 0.425 of the published window [-1000, 1000]
LUNG_TRIES = 200  # voxels tried before any voxel is accepted


@dataclass(frozen=True)
class LungCropParams:
    """A crop of a case.

    Attributes:
        start: Its first voxel (z, y, x) in the case, may be negative.
        size: Its voxels (z, y, x).
        pad_hu: HU outside the case.
    """

    start: Sequence[int]
    size: Sequence[int]
    pad_hu: int


@TRANSFORMS.register_module()
class LoadLungCrop(Transform[LungCropParams]):
    """Choose a crop of lung, read it, and normalize its intensity.

    A lung voxel is drawn and the crop placed around it. A crop with too much
    soft tissue or too little lung is drawn again; after ``tries`` the crop
    closest to the limits is used, so no scan is left out.

    Args:
        size: Voxels of the crop (z, y, x), multiples of 16.
        jitter: Largest distance of the crop's centre from the lung voxel, as
            a fraction of the crop's side.
        max_tissue: Largest ``tissue_fraction``; None for any. Nodules at the
            pleura are rarer in crops that are mostly lung.
        min_lung: Smallest fraction of the crop in the lung field.
        tries: Draws before the crop closest to the limits is used.
        pad_hu: HU outside the case.

    Source: Models Genesis' public code for tissue; its border of 100 voxels is
    replaced by the lungs.
    """

    def __init__(
        self,
        size: Sequence[int] = (32, 64, 64),
        jitter: float = 0.5,
        *,
        max_tissue: float | None = 0.15,
        min_lung: float = 0.2,
        tries: int = 50,
        pad_hu: int = 0,
    ) -> None:
        self.size = tuple(size)
        self.jitter = jitter
        self.max_tissue = max_tissue
        self.min_lung = min_lung
        self.tries = tries
        self.pad_hu = pad_hu

    def draw(self, rng: np.random.Generator, sample: Sample) -> LungCropParams:
        start = self._draw_start(rng, sample)
        least = self._miss(sample, start, np.inf)
        for _ in range(self.tries - 1):
            if least <= 0:
                break
            other = self._draw_start(rng, sample)
            miss = self._miss(sample, other, least)
            if miss < least:
                start, least = other, miss
        return LungCropParams(tuple(start.tolist()), self.size, self.pad_hu)

    def _draw_start(
        self, rng: np.random.Generator, sample: Sample
    ) -> np.ndarray:
        """Place a crop around a lung voxel, inside the case if it fits."""
        size = np.array(self.size)
        reach = (self.jitter * size).astype(int)
        start = _lung_voxel(rng, sample) - size // 2
        start += rng.integers(-reach, reach + 1)
        room = np.array(sample['record'].geometry.shape) - size
        return np.where(room < 0, room // 2, np.clip(start, 0, room))

    def _miss(self, sample: Sample, start: np.ndarray, enough: float) -> float:
        """How far a crop is from the limits; the image is read only if the
        lungs do not settle it."""
        lung = _read(sample, 'lungs', start, self.size).mean()
        miss = max(self.min_lung - float(lung), 0.0)
        if self.max_tissue is None or miss >= enough:
            return miss
        deeper = (self.size[0] + 1, *self.size[1:])
        hu = _read(sample, 'image', start, deeper, fill=self.pad_hu)
        return miss + max(tissue_fraction(hu) - self.max_tissue, 0.0)

    def apply(self, sample: Sample, params: LungCropParams) -> Sample:
        start, size = params.start, params.size
        hu = _read(sample, 'image', start, size, fill=params.pad_hu)
        intensity = sample['window'].normalize(hu)
        return {
            **sample,
            'image': intensity,
            'target': intensity,
            'in_lungs': _read(sample, 'lungs', start, size) > 0,
            'geometry': sample['record'].geometry.crop(start, size),
        }


def _read(
    sample: Sample,
    name: str,
    start: Sequence[int] | np.ndarray,
    size: Sequence[int],
    *,
    fill: int = 0,
) -> np.ndarray:
    store, record = sample['store'], sample['record']
    low = np.array(start)
    return read_region(store, record, name, low, low + size, fill=fill)


def _lung_voxel(rng: np.random.Generator, sample: Sample) -> np.ndarray:
    """A voxel of the lungs; any voxel if they are too small to be hit."""
    store, record = sample['store'], sample['record']
    voxel = draw_lung_voxel(rng, store, record, LUNG_TRIES)
    return rng.integers(0, record.geometry.shape) if voxel is None else voxel


def tissue_fraction(hu: np.ndarray) -> float:
    """Soft tissue in a crop: voxels from -150 HU on, and half of those
    below it whose next slice has tissue.

    Args:
        hu: HU (D + 1, H, W); the crop and one slice more.

    Source: Models Genesis' public code; its look-ahead of a second slice
        scores 0.
    """
    tissue = hu >= SOLID_HU
    here, above = tissue[:-1], tissue[1:]
    return float((here.sum() + (above & ~here).sum() / 2) / here.size)
