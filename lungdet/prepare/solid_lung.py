"""Airless lung: solid tissue where the other side has lung."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungdet.geometry import occupied
from lungdet.prepare.body_mask import TISSUE_HU

BONE_HU = 250
THICK_MM = 6.0  # half of the thickness that a solid part must have
MEDIAL = 0.4  # of the lungs' half width: closer to the midline is the heart
LATERAL = 0.7  # of it: farther out is the chest wall
MIN_LATERAL = 0.15  # of a part that must be in between
MAX_PARTS = 3
MIN_FRACTION = 0.06  # of the lungs' volume
MAX_BONE = 0.06  # with more of it the ribs are closer together on that side
DIAPHRAGM = 0.6  # of the lungs' height: a diaphragm does not reach that high


class SolidLung(NamedTuple):
    """Solid tissue in the mirror image of the other lung.

    Attributes:
        mask: Boolean (z, y, x), empty if it could be a high diaphragm.
        caveats: What was decided.
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
    none = np.zeros_like(lungs)
    height = occupied(lungs, 0)
    middle = midline(hu[height], body[height])
    half_width = np.percentile(np.abs(np.nonzero(lungs)[2] - middle), 98)
    aside = np.abs(np.arange(lungs.shape[2]) - middle) / half_width
    solid = mirrored(lungs, middle) & ~lungs & body & (hu >= TISSUE_HU)
    part = none.copy()
    for thick in _thick_parts(solid & (aside > MEDIAL), spacing):
        beside = float((thick & (aside > LATERAL)).sum())
        if (
            thick.sum() >= MIN_FRACTION * lungs.sum()
            and beside >= MIN_LATERAL * thick.sum()
            and float((hu[thick] > BONE_HU).mean()) <= MAX_BONE
        ):
            part |= thick
    if not part.any():
        return SolidLung(none, ())
    ml = float(part.sum() * np.prod(spacing)) / 1000
    top = np.percentile(np.nonzero(part)[0], 95) - height.start
    if top >= DIAPHRAGM * (height.stop - height.start):
        caveat = (
            f'{ml:.0f} ml without air are kept as lung: the other side has '
            'lung there, and the ribs are as wide apart'
        )
        return SolidLung(part, (caveat,))
    caveat = (
        f'{ml:.0f} ml without air lie where the other side has lung: solid '
        'lung, fluid or a high diaphragm; they do not count as lung'
    )
    return SolidLung(none, (caveat,))


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
        > THICK_MM
    )
    parts, num = ndimage.label(core)
    sizes = np.bincount(parts.ravel(), minlength=num + 1)[1:]
    regions = ndimage.find_objects(parts)
    reach = np.ceil(THICK_MM / spacing).astype(int)
    for number in np.argsort(-sizes)[:MAX_PARTS] + 1:
        box = tuple(
            slice(max(side.start - r, 0), side.stop + r)
            for side, r in zip(regions[number - 1], reach)
        )
        away = ndimage.distance_transform_edt(parts[box] != number, spacing)
        part = np.zeros_like(mask)
        part[box] = (away <= THICK_MM) & mask[box]
        yield part
