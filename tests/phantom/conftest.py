"""Chests measured as real scans were: resampled to 1 mm, with their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from lungdet.geometry import (
    Geometry,
    isotropic_geometry,
    resample_nearest,
)
from lungdet.phantom import Phantom, make_phantom
from lungdet.phantom.chest import Chest
from lungdet.phantom.noise import add_noise
from lungdet.phantom.render import make_chest
from lungdet.prepare.resample import resample_linear

SEEDS = (11, 12, 13)
NOISE_SEEDS = (11, 14, 16)  # smooth, middle and sharp kernels


@pytest.fixture(scope='package')
def phantoms() -> list[Phantom]:
    return [
        make_phantom([s], size='small', series_uid=f'1.{s}', num_nodules=2)
        for s in SEEDS
    ]


@dataclass
class Measured:
    """A chest without nodules on the 1 mm grid, with and without noise.

    Attributes:
        chest: As rendered, on the scan's grid.
        image: HU (z, y, x) at 1 mm.
        clean: The same without noise.
        inner: Voxels more than 4 mm inside the lungs.
        grid: The 1 mm grid.
    """

    chest: Chest
    image: np.ndarray
    clean: np.ndarray
    inner: np.ndarray
    grid: Geometry

    @property
    def residual(self) -> np.ndarray:
        """In-plane high pass, sigma 2.5 mm, as for the real scans."""
        return self.image - ndimage.gaussian_filter(self.image, (0, 2.5, 2.5))

    def tissue(self, name: str, depth: int) -> np.ndarray:
        """Voxels ``depth`` inside a tissue of the noise-free chest."""
        value = getattr(self.chest.body.hu, name)
        near = np.abs(self.clean - value) < 8
        return ndimage.binary_erosion(near, iterations=depth)

    @property
    def parenchyma(self) -> np.ndarray:
        """Inner lung two voxels from every vessel."""
        thin = ndimage.maximum_filter(self.clean, 5) < -700
        return self.inner & thin


def measure(seed: int, size: str) -> Measured:
    rng = np.random.default_rng(seed)
    chest = make_chest(rng, size)
    hu = add_noise(rng, chest)
    source = chest.body.geometry
    grid = isotropic_geometry(source, 1.0)
    lungs = np.isin(chest.labels, (3, 4)).astype(np.uint8)
    lungs = resample_nearest(lungs, source, grid, fill=None)
    clean = np.rint(chest.hu).astype(np.int16)
    return Measured(
        chest,
        resample_linear(hu, source, grid).astype(np.float32),
        resample_linear(clean, source, grid).astype(np.float32),
        ndimage.distance_transform_edt(lungs) > 4,
        grid,
    )


@pytest.fixture(
    scope='package',
    params=[
        *((seed, 'small') for seed in NOISE_SEEDS),
        pytest.param((12, 'full'), marks=pytest.mark.slow),
    ],
    ids=str,
)
def measured(request: pytest.FixtureRequest) -> Measured:
    return measure(*request.param)
