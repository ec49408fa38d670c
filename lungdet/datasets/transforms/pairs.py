"""Unlabelled crops of lung, read, scaled, and packed as pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from lungdet.data_sample import DetDataSample
from lungdet.datasets.transforms.loading import read_padded
from lungdet.hounsfield import Window
from lungdet.registry import TRANSFORMS

TISSUE_HU = -150  # 0.425 of the published window [-1000, 1000]
LUNG_TRIES = 200  # points tried before any voxel will do
SEED_RANGE = 2**31


@TRANSFORMS.register_module()
class LoadLungCrop(BaseTransform):
    """Draw a crop of lung, read it, and scale it to normalized intensity.

    A lung voxel is drawn and the crop placed about it. A crop with more soft
    tissue or less lung than wished is drawn again; after ``tries`` the one
    that misses least is taken, so no scan is left out.

    Args:
        size: Voxels of the crop (z, y, x), multiples of 16.
        jitter: Largest distance of the crop's middle from the lung voxel, as
            part of the crop's side.
        max_tissue: Most soft tissue, see ``tissue_share``; None for any.
            Nodules at the pleura are rarer in crops that are mostly lung.
        min_lung: Least part of the crop in the lung field.
        tries: Draws before the wishes are given up.
        pad_hu: HU beyond the case.

    Source: Models Genesis' public code for tissue; lung instead of its
        border of 100 voxels.
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

    def draw(self, results: dict) -> np.ndarray:
        """First voxel (z, y, x) of the crop, integers."""
        best, least = None, np.inf
        for _ in range(self.tries):
            start = self._draw_start(results)
            miss = self._miss(results, start, least)
            if miss < least:
                best, least = start, miss
            if least <= 0:
                break
        assert best is not None
        return best

    def _draw_start(self, results: dict) -> np.ndarray:
        """Place a crop about a lung voxel, inside the case if it fits."""
        rng, size = results['rng'], np.array(self.size)
        shape = np.array(results['record'].geometry.shape)
        reach = (self.jitter * size).astype(int)
        start = _lung_voxel(results) - size // 2
        start += rng.integers(-reach, reach + 1)
        room = shape - size
        return np.where(room < 0, room // 2, np.clip(start, 0, room))

    def _miss(self, results: dict, start: np.ndarray, enough: float) -> float:
        """By how much the wishes are missed; the image is read only if the
        lungs alone do not decide."""
        lung = self._read(results, 'lungs', start, self.size).mean()
        miss = max(self.min_lung - float(lung), 0.0)
        if self.max_tissue is None or miss >= enough:
            return miss
        deeper = (self.size[0] + 1, *self.size[1:])
        hu = self._read(results, 'image', start, deeper)
        return miss + max(tissue_share(hu) - self.max_tissue, 0.0)

    def _read(
        self,
        results: dict,
        name: str,
        start: np.ndarray,
        size: Sequence[int],
    ) -> np.ndarray:
        record = results['record']
        return read_padded(
            results['store'],
            record.series_uid,
            name,
            start,
            start + size,
            fill=self.pad_hu if name == 'image' else 0,
            shape=record.geometry.shape,
        )

    def transform(self, results: dict) -> dict:
        start = self.draw(results)
        hu = self._read(results, 'image', start, self.size)
        intensity = Window(*results['window']).normalize(hu)
        results['target'] = results['image'] = intensity
        results['geometry'] = results['record'].geometry.crop(start, self.size)
        return results


def _lung_voxel(results: dict) -> np.ndarray:
    record, rng = results['record'], results['rng']
    for _ in range(LUNG_TRIES):
        point = rng.integers(0, record.geometry.shape)
        region = tuple(slice(p, p + 1) for p in point)
        if results['store'].read(record.series_uid, 'lungs', region).any():
            break
    return point


def tissue_share(hu: np.ndarray) -> float:
    """Soft tissue in a crop: voxels from -150 HU on, and half of those
    below it whose next slice has tissue.

    Args:
        hu: HU (D + 1, H, W); the crop and one slice more.

    Source: Models Genesis' public code; its look-ahead of a second slice
        scores 0.
    """
    tissue = hu >= TISSUE_HU
    here, above = tissue[:-1], tissue[1:]
    return float((here.sum() + (above & ~here).sum() / 2) / here.size)


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """Tensors and a DetDataSample, as a restoring model takes them.

    ``inputs`` and ``targets`` (1, D, H, W) float32 in [0, 1], ``masked``
    (1, D, H, W) boolean: the voxels that painting replaced.
    """

    def draw(self, results: dict) -> int:
        """Seed of what the model draws for this crop."""
        return int(results['rng'].integers(SEED_RANGE))

    def transform(self, results: dict) -> dict:
        record, target = results['record'], results['target']
        sample = DetDataSample(
            metainfo={
                'series_uid': record.series_uid,
                'affine': results['geometry'].affine,
                'img_shape': target.shape,
                'sample_key': results['sample_key'],
                'window': tuple(map(float, results['window'])),
                'painting': results.get('painting', 'none'),
                'mask_seed': self.draw(results),
            }
        )
        masked = results.get('masked')
        if masked is None:
            masked = np.zeros(target.shape, dtype=bool)
        return {
            'inputs': torch.from_numpy(results['image'])[None],
            'targets': torch.from_numpy(target)[None],
            'masked': torch.from_numpy(masked)[None],
            'data_samples': sample,
        }
