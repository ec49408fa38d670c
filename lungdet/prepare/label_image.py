"""Reference nodules from a label image on the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, reorient, sphere_diameter
from lungdet.hounsfield import AIR_HU
from lungdet.io.image import read_image
from lungdet.io.nifti import GRID_TOL_MM
from lungdet.prepare.fingerprint import fingerprint
from lungdet.prepare.references import (
    MASS_MM,
    MAX_NODULES,
    NoduleMask,
    ReferenceNodule,
    References,
    check_width,
)
from lungdet.structures import Annotation, Volume

TOUCHING = np.ones((3, 3, 3))  # also by a corner: one part


@dataclass(frozen=True)
class LabelImageReferences:
    """An image with a label per nodule, 0 elsewhere.

    If the image has a single label, each connected component (by faces, edges
    or corners) is a nodule. With several labels each is one nodule, and a
    caveat names those in several parts.
    """

    path: Path

    def read(self, volume: Volume) -> References:
        """One nodule per label, in the order of the labels.

        Raises:
            AnnotationError: Another grid, values that are not labels, more
                than 255 nodules, or one that is an organ.
        """
        labels = _read_labels(self.path, volume.geometry)
        labels, values, caveats = _number_nodules(labels, self.path)
        nodules = []
        regions = ndimage.find_objects(labels)
        for number, (value, region) in enumerate(zip(values, regions), 1):
            mask = mask_of_label(labels, number, region)
            nodule = _measured(mask, volume.geometry)
            where = f'{self.path}: label {value}'
            check_width(nodule, volume.geometry, where)
            _check_tissue(nodule, volume, where)
            nodules.append(nodule)
            if (parts := ndimage.label(mask.voxels, TOUCHING)[1]) > 1:
                caveats.append(
                    f'label {value} of {self.path.name} has {parts} parts '
                    'and stays one nodule'
                )
        return References(tuple(nodules), tuple(caveats))

    def table_rows(self) -> Sequence[Annotation]:
        """No rows: its nodules are voxels on the scan's own grid."""
        return ()

    def settings(self) -> dict[str, Any]:
        """A checksum of the file."""
        return {'masks': fingerprint(self.path, whole=True)}

    def files(self) -> Sequence[Path]:
        """The image."""
        return (self.path,)


def mask_of_label(
    labels: np.ndarray, number: int, region: tuple[slice, slice, slice]
) -> NoduleMask:
    """The voxels of a label inside its region of ``ndimage.find_objects``."""
    z, y, x = (int(part.start) for part in region)
    return NoduleMask((z, y, x), labels[region] == number)


def _read_labels(path: Path, geometry: Geometry) -> np.ndarray:
    """int32 labels (z, y, x); raises if they cannot belong to the scan."""
    image = read_image(path)
    values, grid = reorient(image.array, image.geometry)
    if not grid.is_close(geometry, tol_mm=GRID_TOL_MM):
        raise AnnotationError(
            f'{path}: its grid is not that of the scan; resample the mask to '
            'the scan.'
        )
    low, top = values.min(initial=0), values.max(initial=0)
    if not (low >= 0 and top <= np.iinfo(np.int32).max):  # nor NaN
        raise AnnotationError(
            f'{path}: values {low:g}..{top:g} number no '
            'nodules; use 0 for the background and 1, 2, ... for nodules.'
        )
    labels = values.astype(np.int32, copy=False)
    if (labels != values).any():
        raise AnnotationError(
            f'{path}: values between whole numbers; give labels, not '
            'probabilities.'
        )
    return labels


def _number_nodules(
    labels: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels numbered from 1 (uint8), the values (N,) that they had, and
    caveats."""
    caveats = []
    values = np.unique(labels[labels > 0])
    if len(values) == 1:  # a binary mask, of one nodule or of several
        labels, parts = ndimage.label(labels, TOUCHING)
        values = np.arange(1, parts + 1)
        if parts > 1:
            caveats.append(
                f'the only label of {path.name} has {parts} parts, each of '
                'which became a nodule'
            )
    if len(values) > MAX_NODULES:
        raise AnnotationError(
            f'{path}: {len(values)} nodules; a case holds at most '
            f'{MAX_NODULES}. Are the labels those of nodules?'
        )
    numbers = np.searchsorted(values, labels, side='right')
    return numbers.astype(np.uint8), values, caveats


def _measured(mask: NoduleMask, geometry: Geometry) -> ReferenceNodule:
    """Centre of mass, diameter of the sphere of equal volume, and box."""
    points = np.argwhere(mask.voxels) + np.array(mask.start)
    x, y, z = geometry.to_world(points.mean(0)[None])[0].tolist()
    volume_mm3 = len(points) * float(np.prod(geometry.spacing))
    diameter = sphere_diameter(volume_mm3)
    a, b, c, d, e, f = mask.box.tolist()
    return ReferenceNodule(
        Annotation((x, y, z), diameter), (a, b, c, d, e, f), mask
    )


def _check_tissue(nodule: ReferenceNodule, volume: Volume, where: str) -> None:
    """Refuse lungs: large masks that are dark."""
    mask, diameter = nodule.mask, nodule.annotation.diameter_mm or 0.0
    if mask is None or diameter <= MASS_MM:
        return
    region = tuple(
        slice(a, a + n) for a, n in zip(mask.start, mask.voxels.shape)
    )
    hu = float(np.median(volume.array[region][mask.voxels]))
    if hu < AIR_HU:
        raise AnnotationError(
            f'{where} is a nodule of {diameter:.0f} mm and {hu:.0f} HU, which '
            'is lung and not tissue: give masks of nodules, not of lungs.'
        )
