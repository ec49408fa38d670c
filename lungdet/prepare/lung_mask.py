"""Where the lungs are: as given, or by thresholds on a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, reorient
from lungdet.io.image import read_image
from lungdet.structures import Volume

LUNG_LABELS = (3, 4)  # LUNA16: right and left; 5 is the trachea
PARALLEL_TOL = 1e-3  # of direction cosines, lung mask against scan
COARSE_MM = 3.0
COARSE_HU = (-1000, 400)  # more would let padding or metal rule a mean
TISSUE_HU = -400  # between lung and soft tissue
WALL_VOXELS = 2  # coarse; grown back where the opening went through
MIN_PART_ML = 80.0  # smaller air is bowel, oesophagus, trachea
MAX_PARTS = 4
CLOSING_MM = 12.0  # takes in vessels, hilum and nodules at the pleura
LUNG_LITRES = (0.8, 12.0)
LUNG_HU = (-970.0, -500.0)
MIN_HEIGHT_MM = 80.0
MIN_BODY_ML = 2000.0
MAX_BODY_FRACTION = 0.6  # of the body, in the slices that hold lung
CENTRAL = (0.25, 0.75)  # of the body's width and depth: the lungs' centroid
SMALL_SIDE = 0.1  # one lung this small beside the other is worth a caveat


@dataclass(frozen=True)
class LungField:
    """Where the lungs are.

    Attributes:
        mask: Boolean (z, y, x) on ``geometry``.
        geometry: Coarse grid, or that of a given mask.
        source: ``'computed'``, ``'given'``, or ``'failed'``: then ``mask``
            is the whole volume.
        caveats: Why it failed, or what is unusual.
    """

    mask: np.ndarray
    geometry: Geometry
    source: str
    caveats: list[str] = field(default_factory=list)


def read_lungs(path: Path | None, volume: Volume) -> LungField | None:
    """A given lung mask, LUNA16's labels 3 and 4.

    Args:
        path: Its file; None for no file.
        volume: The scan that it belongs to.

    Returns:
        The lungs on the mask's own grid; None without a file, or if the file
        holds none.

    Raises:
        AnnotationError: Its axes are not parallel to the scan's.
        SeriesError: Not readable as an image.
    """
    if path is None:
        return None
    image = read_image(path)
    labels, grid = reorient(image.array, image.geometry)
    tilt = grid.direction - volume.geometry.direction
    if np.abs(tilt).max() > PARALLEL_TOL:
        raise AnnotationError(
            f'{path}: its axes are not parallel to those of the scan; '
            'resample the lung mask to the scan, or take it away.'
        )
    mask = np.isin(labels, LUNG_LABELS)
    return LungField(mask, grid, 'given') if mask.any() else None


def find_lungs(volume: Volume) -> LungField:
    """Segment the lungs without weights.

    Body: the largest tissue component, filled in each axial slice. Lungs:
    the large air components inside it that do not touch the image's sides,
    closed by 12 mm. Anything implausible keeps the whole volume and says so.

    Args:
        volume: HU, first array axis along the body.
    """
    hu, geometry = coarse_means(volume)
    if hu.size == 0:
        return failed(volume, 'the scan is thinner than one coarse voxel')
    voxel_ml = float(np.prod(geometry.spacing)) / 1000
    body = _body(hu)
    if body.sum() * voxel_ml < MIN_BODY_ML:
        return failed(volume, 'no body found')
    lungs = _large_air(hu, body, voxel_ml)
    reason = _implausible(lungs, hu, geometry, voxel_ml)
    reason = reason or _misplaced(lungs, body)
    if reason:
        return failed(volume, reason)
    closed = close_mask(lungs, geometry.spacing) & body
    return LungField(closed, geometry, 'computed', _one_sided(lungs, body))


def failed(volume: Volume, reason: str) -> LungField:
    """The whole volume as one voxel, with the reason as a caveat."""
    return LungField(
        np.ones((1, 1, 1), dtype=bool),
        volume.geometry.coarsened(np.maximum(volume.geometry.shape, 1)),
        'failed',
        [f'lungs not found ({reason}); the whole scan is kept'],
    )


def coarse_means(volume: Volume) -> tuple[np.ndarray, Geometry]:
    """Block means of about 3 mm, HU clipped to [-1000, 400].

    Returns:
        float32 (z, y, x), and its grid.
    """
    geometry = volume.geometry
    factors = np.maximum(np.rint(COARSE_MM / geometry.spacing), 1).astype(int)
    coarse = geometry.coarsened(factors)
    dz, dy, dx = factors
    _, y, x = np.array(coarse.shape) * factors
    blocks = np.empty(coarse.shape, dtype=np.float32)
    for k, plane in enumerate(blocks):  # no float copy of the whole volume
        slab = volume.array[k * dz : (k + 1) * dz, :y, :x]
        slab = np.clip(slab, *COARSE_HU)
        slab = slab.reshape(dz, coarse.shape[1], dy, coarse.shape[2], dx)
        plane[:] = slab.mean((0, 2, 4), dtype=np.float32)
    return blocks, coarse


def _body(hu: np.ndarray) -> np.ndarray:
    """The largest piece of tissue, with what it encloses in each slice."""
    tissue = hu >= TISSUE_HU
    parts, num = ndimage.label(ndimage.binary_opening(tissue))
    if num == 0:
        return np.zeros(hu.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    # the opening cuts the table off, and holes into a thin chest wall
    body = ndimage.binary_dilation(
        parts == sizes.argmax(), iterations=WALL_VOXELS, mask=tissue
    )
    for plane in body:
        plane[:] = ndimage.binary_fill_holes(plane)
    return body


def _large_air(
    hu: np.ndarray, body: np.ndarray, voxel_ml: float
) -> np.ndarray:
    """Large dark components inside the body, off the image's sides."""
    parts, num = ndimage.label((hu < TISSUE_HU) & body)
    sides = np.ones(hu.shape, dtype=bool)
    sides[:, 1:-1, 1:-1] = False
    volumes = np.bincount(parts.ravel(), minlength=num + 1) * voxel_ml
    volumes[0] = 0
    volumes[np.unique(parts[sides])] = 0
    large = [
        part
        for part in np.argsort(-volumes)[:MAX_PARTS]
        if volumes[part] >= MIN_PART_ML
        and hu[parts == part].mean() <= LUNG_HU[1]
    ]
    return np.isin(parts, large)


def _implausible(
    lungs: np.ndarray, hu: np.ndarray, geometry: Geometry, voxel_ml: float
) -> str | None:
    """Why the volume, darkness or height cannot be that of lungs."""
    litres = lungs.sum() * voxel_ml / 1000
    if not LUNG_LITRES[0] <= litres <= LUNG_LITRES[1]:
        return f'{litres:.1f} l of lung'
    mean = float(hu[lungs].mean())
    if not LUNG_HU[0] <= mean <= LUNG_HU[1]:
        return f'mean of {mean:.0f} HU'
    slices = np.flatnonzero(lungs.any((1, 2)))
    height = (slices[-1] - slices[0] + 1) * geometry.spacing[0]
    if height < MIN_HEIGHT_MM:
        return f'{height:.0f} mm high'
    return None


def _misplaced(lungs: np.ndarray, body: np.ndarray) -> str | None:
    """Why air of the right size and darkness cannot be the lungs."""
    covered = lungs.any((1, 2))
    fraction = float(lungs[covered].sum() / body[covered].sum())
    if fraction > MAX_BODY_FRACTION:
        return f'{fraction:.0%} of the body is air'
    for axis, name in ((1, 'y'), (2, 'x')):
        across = tuple(a for a in range(3) if a != axis)
        ends = np.flatnonzero(body.any(across))
        amount = lungs.sum(across)
        centre = (amount * np.arange(len(amount))).sum() / amount.sum()
        position = (centre - ends[0]) / max(ends[-1] - ends[0], 1)
        if not CENTRAL[0] <= position <= CENTRAL[1]:
            return f'air at {position:.0%} of the body along {name}'
    return None


def _one_sided(lungs: np.ndarray, body: np.ndarray) -> list[str]:
    """A caveat if nearly all of the lung lies on one side."""
    columns = np.flatnonzero(body.any((0, 1)))
    middle = (columns[0] + columns[-1] + 1) // 2
    sides = sorted([lungs[..., :middle].sum(), lungs[..., middle:].sum()])
    if sides[0] >= SMALL_SIDE * sides[1]:
        return []
    return ['one lung only was found; the other may be solid or absent']


def close_mask(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Dilate and erode by 12 mm, by the distances of the voxel centres.

    Args:
        mask: Boolean (z, y, x).
        spacing: mm along (z, y, x).

    Returns:
        Boolean (z, y, x), never less than ``mask``.
    """
    reach = np.ceil(CLOSING_MM / spacing).astype(int) + 1
    # the ends along the body repeat, so lungs cut by the scan do not shrink
    ends = [(reach[0], reach[0]), (0, 0), (0, 0)]
    sides = [(0, 0), (reach[1], reach[1]), (reach[2], reach[2])]
    wide = np.pad(np.pad(mask, ends, mode='edge'), sides)
    grown = ndimage.distance_transform_edt(~wide, spacing) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(grown, spacing) > CLOSING_MM
    inner = tuple(slice(r, r + n) for r, n in zip(reach, mask.shape))
    return closed[inner] | mask
