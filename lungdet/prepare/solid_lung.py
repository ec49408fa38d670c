"""Airless lung: solid tissue where the other side has lung."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungdet.geometry import occupied
from lungdet.hounsfield import TISSUE_HU

BONE_HU = 250
HALF_THICKNESS_MM = 6.0  # half of the thickness that a solid part must have
MEDIAL = 0.4  # of the lungs' half width: closer to the midline is the heart
LATERAL = 0.7  # of it: farther out is beside the heart
RIBS = 0.6  # of it: bone farther out is rib, scapula or humerus
RIB_REACH_MM = 20.0  # along the body: slanting ribs cross slices
MAX_SOLID_PARTS = 3
DIAPHRAGM = 0.6  # of the lungs' height: a diaphragm does not reach that high
GROWTH_MM = 20.0  # of a kept part, within the other lung's mirror image
GROWTH_MEDIAL = 0.2  # of the lungs' half width; a kept part grows up to there


class PartLimits(NamedTuple):
    """Smallest size of a part, relative to the lungs, and its lateral
    fraction."""

    size: float
    lateral: float


KEPT_SOLID = PartLimits(0.03, 0.08)  # parts that no diaphragm explains
TOLD_SOLID = PartLimits(0.025, 0.25)  # parts that may be diaphragm


class SolidLung(NamedTuple):
    """Solid tissue in the mirror image of the other lung.

    Attributes:
        mask: Boolean (z, y, x) of what counts as lung.
        caveats: What was decided, in words.
    """

    mask: np.ndarray
    caveats: tuple[str, ...]


def find_solid_lung(
    hu: np.ndarray, lungs: np.ndarray, body: np.ndarray, spacing: np.ndarray
) -> SolidLung:
    """Solid parts that the other side and the ribs identify as lung.

    Args:
        hu: Coarse (z, y, x).
        lungs: Boolean (z, y, x), closed.
        body: Boolean (z, y, x), filled.
        spacing: mm along (z, y, x).
    """
    height = occupied(lungs, 0)
    middle = midline(hu[height], body[height])
    half_width = np.percentile(np.abs(np.nonzero(lungs)[2] - middle), 98)
    aside = np.abs(np.arange(lungs.shape[2]) - middle) / half_width
    bones = body & (hu > BONE_HU) & (aside > RIBS)
    solid = mirrored(lungs, middle) & ~lungs & body & (hu >= TISSUE_HU)
    solid &= inside_ribs(bones, middle, spacing)
    kept, told = np.zeros_like(lungs), np.zeros_like(lungs)
    for part in _thick_parts(solid & (aside > MEDIAL), spacing):
        top = np.percentile(np.nonzero(part)[0], 95) - height.start
        is_high = top >= DIAPHRAGM * (height.stop - height.start)
        limits, parts = (KEPT_SOLID, kept) if is_high else (TOLD_SOLID, told)
        lateral = float((part & (aside > LATERAL)).sum() / part.sum())
        if (
            part.sum() >= limits.size * lungs.sum()
            and lateral >= limits.lateral
        ):
            parts |= part
    kept = _grown(kept, solid & (aside > GROWTH_MEDIAL), spacing)
    return SolidLung(kept, _caveats(kept, told & ~kept, spacing))


def _caveats(
    kept: np.ndarray, told: np.ndarray, spacing: np.ndarray
) -> tuple[str, ...]:
    """One line for each kind of solid part."""
    voxel_ml = float(np.prod(spacing)) / 1000
    caveats = []
    if kept.any():
        caveats.append(
            f'{kept.sum() * voxel_ml:.0f} ml without air are kept as lung: '
            'the other side has lung there, and the ribs are as wide apart'
        )
    if told.any():
        caveats.append(
            f'{told.sum() * voxel_ml:.0f} ml without air lie where the other '
            'side has lung: solid lung, fluid or a high diaphragm; they do '
            'not count as lung'
        )
    return tuple(caveats)


def _grown(
    part: np.ndarray, solid: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """A part and the solid tissue near it."""
    if not part.any():
        return part
    away = ndimage.distance_transform_edt(~part, spacing)
    return part | (solid & (away <= GROWTH_MM))


def inside_ribs(
    bones: np.ndarray, middle: float, spacing: np.ndarray
) -> np.ndarray:
    """The space between the ribs of both sides, row by row.

    Args:
        bones: Boolean (z, y, x), ribs and what lies outside of them.
        middle: Column of the midline, voxels.
        spacing: mm along (z, y, x).

    Returns:
        Boolean (z, y, x); a row without bone is inside.
    """
    slices = 2 * int(RIB_REACH_MM / (2 * spacing[0])) + 1
    near = ndimage.maximum_filter(bones.view(np.uint8), (slices, 3, 1))
    columns = np.arange(bones.shape[2])
    on_left = columns > middle
    last = np.where(near & ~on_left, columns, -1).max(2)
    first = np.where(near & on_left, columns, len(columns)).min(2)
    return (columns > last[..., None]) & (columns < first[..., None])


def midline(hu: np.ndarray, body: np.ndarray) -> float:
    """The column, in voxels, about which the bones are most symmetric."""
    bones = ((hu > BONE_HU) & body).sum(0).astype(float)
    columns = bones.shape[1]
    size = 2 * columns
    # autoconvolution along x: its peak is at twice the midline
    spectrum = np.fft.rfft(bones, size, axis=1)
    symmetry = np.fft.irfft(spectrum**2, size, axis=1).sum(0)
    if symmetry.max() <= 0:
        inside = occupied(body, 2)
        return (inside.start + inside.stop - 1) / 2
    return float(symmetry[: 2 * columns - 1].argmax()) / 2


def mirrored(mask: np.ndarray, middle: float) -> np.ndarray:
    """A mask reflected about a column, cropped to the image."""
    columns = np.arange(mask.shape[2])
    sources = np.rint(2 * middle - columns).astype(int)
    inside = (sources >= 0) & (sources < len(columns))
    image = np.zeros_like(mask)
    image[:, :, inside] = mask[:, :, sources[inside]]
    return image


def _thick_parts(
    mask: np.ndarray, spacing: np.ndarray
) -> Iterator[np.ndarray]:
    """The largest parts left by an opening of 6 mm."""
    if not mask.any():
        return
    region = ndimage.find_objects(mask.view(np.uint8))[0]
    inner = mask[region]
    core = np.zeros_like(mask)
    core[region] = (
        ndimage.distance_transform_edt(np.pad(inner, 1), spacing)[
            1:-1, 1:-1, 1:-1
        ]
        > HALF_THICKNESS_MM
    )
    parts, num = ndimage.label(core)
    sizes = np.bincount(parts.ravel(), minlength=num + 1)[1:]
    regions = ndimage.find_objects(parts)
    reach = np.ceil(HALF_THICKNESS_MM / spacing).astype(int)
    for number in np.argsort(-sizes)[:MAX_SOLID_PARTS] + 1:
        box = tuple(
            slice(max(side.start - r, 0), side.stop + r)
            for side, r in zip(regions[number - 1], reach)
        )
        away = ndimage.distance_transform_edt(parts[box] != number, spacing)
        part = np.zeros_like(mask)
        part[box] = (away <= HALF_THICKNESS_MM) & mask[box]
        yield part
