"""Nodules for libraries, drawn as balls."""

from __future__ import annotations

from typing import Any

import numpy as np

from lungdet.io.nodule_library import LibraryNodule


def ball_nodule(
    name: str,
    *,
    diameter_mm: float = 9.0,
    spacing: tuple[float, float, float] = (2.0, 0.7, 0.7),
    shape: tuple[int, int, int] = (9, 40, 38),
    tissue_hu: float = 40.0,
    **values: Any,
) -> LibraryNodule:
    """A blurred ball in lung, its mask a millimetre wider."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing)]
    z, y, x = np.meshgrid(*axes, indexing='ij')
    depth = diameter_mm / 2 - np.sqrt(z**2 + y**2 + x**2)
    inside = np.clip(0.5 + depth / 1.2, 0, 1)
    return LibraryNodule(
        **{
            'name': name,
            'patient': f'P-{name}',
            'series_uid': f'1.2.{name}',
            'diameter_mm': diameter_mm,
            'spacing': spacing,
            'hu': np.rint(-870 + inside * (tissue_hu + 870)).astype(np.int16),
            'mask': depth > -1,
            'site': 'parenchyma',
            **values,
        }
    )
