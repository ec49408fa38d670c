"""Voxels of a prepared case on another grid."""

from __future__ import annotations

import numpy as np

from lungdet.datasets.warp import source_region, warp_linear, warp_nearest
from lungdet.geometry import Geometry
from lungdet.io.case_store import DTYPES, CaseStore
from lungdet.structures import CaseRecord


def read_hu(
    store: CaseStore, record: CaseRecord, target: Geometry, *, pad_hu: int
) -> np.ndarray:
    """HU on a grid; only the chunks it touches are read.

    Args:
        store: Where the case lies.
        record: The case.
        target: Grid of the result; may extend outside the case.
        pad_hu: HU outside the case.

    Returns:
        ``target.shape``: int16 if the grid's voxels are those of the case,
        possibly flipped and transposed, else float32, interpolated linearly.

    Raises:
        SeriesError: The file is missing or damaged.
    """
    matrix, offset = record.geometry.index_map(target)
    low, high = source_region(matrix, offset, target.shape)
    region = read_region(store, record, 'image', low, high, fill=pad_hu)
    return warp_linear(region, matrix, offset - low, target.shape)


def read_mask(
    store: CaseStore,
    record: CaseRecord,
    target: Geometry,
    name: str = 'mask',
) -> np.ndarray:
    """Instance ids or lungs on a grid, of the nearest voxel.

    Args:
        store: Where the case lies.
        record: The case.
        target: Grid of the result; may extend outside the case.
        name: ``'mask'`` or ``'lungs'``.

    Returns:
        uint8 of ``target.shape``, 0 outside the case and in a case without
        the array. Touching nodules stay separate.

    Raises:
        SeriesError: The file is missing or damaged.
    """
    if not store.has(record.series_uid, name):
        return np.zeros(target.shape, dtype=DTYPES[name])
    matrix, offset = record.geometry.index_map(target)
    low, high = source_region(matrix, offset, target.shape)
    region = read_region(store, record, name, low, high, fill=0)
    return warp_nearest(region, matrix, offset - low, target.shape)


def draw_lung_voxel(
    rng: np.random.Generator, store: CaseStore, record: CaseRecord, tries: int
) -> np.ndarray | None:
    """A random voxel (z, y, x) of a case's lungs.

    Args:
        rng: Source of the draws.
        store: Where the case lies.
        record: The case.
        tries: How many voxels of the case are tried.

    Returns:
        Its index (3,); None if none of them lies in the lungs.

    Raises:
        SeriesError: The file is missing or damaged.
    """
    for _ in range(tries):
        voxel = rng.integers(0, record.geometry.shape)
        z, y, x = (slice(v, v + 1) for v in voxel)
        if store.read(record.series_uid, 'lungs', (z, y, x)).any():
            return voxel
    return None


def read_region(
    store: CaseStore,
    record: CaseRecord,
    name: str,
    low: np.ndarray,
    high: np.ndarray,
    *,
    fill: int,
) -> np.ndarray:
    """Region [low, high) of an array of a case.

    Args:
        store: Where the case lies.
        record: The case.
        name: ``'image'``, ``'mask'`` or ``'lungs'``.
        low: First index (3,), z, y, x; it may lie outside the case.
        high: Index after the last (3,).
        fill: Value outside the case.

    Raises:
        SeriesError: The file is missing or damaged.
    """
    uid, shape = record.series_uid, record.geometry.shape
    inner_low = np.clip(low, 0, shape)
    inner_high = np.clip(high, inner_low, shape)
    z, y, x = (slice(a, b) for a, b in zip(inner_low, inner_high))
    if (inner_low == low).all() and (inner_high == high).all():
        return store.read(uid, name, (z, y, x))
    region = np.full(high - low, fill, dtype=DTYPES[name])
    if (inner_high > inner_low).all():
        inside = tuple(
            slice(a, b) for a, b in zip(inner_low - low, inner_high - low)
        )
        region[inside] = store.read(uid, name, (z, y, x))
    return region
