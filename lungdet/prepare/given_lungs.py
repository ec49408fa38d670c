"""A lung mask that came with a scan, compared with the scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, reorient, resample_nearest
from lungdet.hounsfield import TISSUE_HU
from lungdet.io.image import read_image
from lungdet.prepare.lung_field import LungField
from lungdet.prepare.lung_mask import find_lungs
from lungdet.structures import Volume

LUNG_LABELS = (3, 4)  # LUNA16: one for each lung; 5 is the trachea
KNOWN_LABELS = (0, 3, 4, 5)
COSINE_TOL = 1e-3  # between direction cosines of lung mask and scan
SAME_LUNGS = 0.9  # Dice with the lungs of the scan; lower values give a caveat
OTHER_LUNGS = 0.75  # lower values are an error
MOST_OUTSIDE = 0.5  # fraction of a mask outside the scan; more is an error
MIN_DARK = 0.5  # fraction of a mask, if the scan's lungs were not found


def lungs_of_scan(path: Path | None, volume: Volume) -> LungField:
    """The given lungs, or those segmented in the scan if none are given.

    Args:
        path: File of the mask, LUNA16's labels 3 and 4; None for no file.
        volume: The scan that it belongs to.

    Raises:
        AnnotationError: The mask cannot belong to this scan.
        SeriesError: Not readable as an image.
    """
    computed = find_lungs(volume)
    if path is None:
        return computed
    image = read_image(path)
    labels, grid = reorient(image.array, image.geometry)
    tilt = grid.direction - volume.geometry.direction
    if np.abs(tilt).max() > COSINE_TOL:
        raise AnnotationError(
            f'{path}: its axes are not parallel to those of the scan; '
            'resample the lung mask to the scan, or take it away.'
        )
    _check_labels(labels, path)
    mask = np.isin(labels, LUNG_LABELS)
    if not mask.any():
        caveat = f'{path.name} holds no lung; the lungs were found in the scan'
        return replace(computed, caveats=[*computed.caveats, caveat])
    caveats = _compare(mask, grid, volume, computed, path)
    both = all((labels == label).any() for label in LUNG_LABELS)
    numbers = np.where(mask, labels, 0).astype(np.uint8) if both else None
    return LungField(mask, grid, 'given', caveats, numbers)


def _check_labels(labels: np.ndarray, path: Path) -> None:
    """Refuse masks whose numbers are not LUNA16's."""
    others = np.setdiff1d(np.unique(labels), KNOWN_LABELS)
    if len(others):
        some = ', '.join(f'{value:g}' for value in others[:4])
        raise AnnotationError(
            f'{path}: holds the labels {some}; lung masks number the lungs 3 '
            'and 4, the trachea 5 and all else 0. Renumber it, or take it '
            'away.'
        )


def _compare(
    mask: np.ndarray,
    grid: Geometry,
    volume: Volume,
    computed: LungField,
    path: Path,
) -> list[str]:
    """Caveats if a mask and the lungs of the scan differ.

    Computed lungs that are doubtful themselves do not rule out a mask.

    Raises:
        AnnotationError: They are not the same lungs, or most of the mask lies
            outside the scan.
    """
    scan = volume.geometry
    box = resample_nearest(np.ones(scan.shape, np.uint8), scan, grid, fill=0)
    outside = float((box[mask] == 0).mean())
    if outside > MOST_OUTSIDE:
        raise AnnotationError(
            f'{path}: {outside:.0%} of the mask lies outside the scan; it is '
            'of another scan or shifted. Correct it, or take it away.'
        )
    caveats = []
    if outside > 1 - SAME_LUNGS:
        caveats.append(f'{outside:.0%} of {path.name} lie outside the scan')
    if computed.source == 'failed':
        return caveats + _compare_darkness(mask, grid, volume, path)
    coarse = computed.geometry
    voxels = mask.astype(np.uint8)
    given = resample_nearest(voxels, grid, coarse, fill=0) > 0
    sizes = given.sum() + computed.mask.sum()
    dice = float(2 * (given & computed.mask).sum() / sizes)
    if dice < OTHER_LUNGS and not computed.caveats:
        raise AnnotationError(
            f'{path}: agrees with the lungs of the scan by a Dice of '
            f'{dice:.2f} only; it is of another scan or shifted. Correct it, '
            'or take it away.'
        )
    if dice < SAME_LUNGS:
        reasons = ''.join(f' ({text})' for text in computed.caveats)
        caveats.append(
            f'{path.name} and the lungs found in the scan agree by a Dice of '
            f'{dice:.2f} only; the given mask is used{reasons}'
        )
    return caveats


def _compare_darkness(
    mask: np.ndarray, grid: Geometry, volume: Volume, path: Path
) -> list[str]:
    """A caveat if a mask is not dark, for scans whose lungs were not found."""
    image = resample_nearest(volume.array, volume.geometry, grid, fill=0)
    dark = float((image[mask] < TISSUE_HU).mean())
    if dark >= MIN_DARK:
        return []
    return [
        f'only {dark:.0%} of {path.name} lies where the scan is as dark as '
        'lung, and no lungs were found to compare it with; check that it is '
        'of this scan'
    ]
