"""A scan's image, lungs and nodules on the grid of a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, enclosing_box, move_boxes
from lungdet.prepare.grid import case_grid
from lungdet.prepare.lung_field import LungField
from lungdet.prepare.positions import count_fits, in_air
from lungdet.prepare.references import (
    MASS_MM,
    MAX_NODULES,
    ReferenceNodule,
    References,
    check_width,
)
from lungdet.prepare.resample import (
    number_masks,
    resample_linear,
    resample_lungs,
)
from lungdet.structures import Annotation, CaseNodule, CaseRecord, Volume

THICK_SLICES_MM = 3.0  # apart; thicker ones hide small nodules. LUNA16: 2.5


class PreparedCase(NamedTuple):
    """A case before it is stored.

    Attributes:
        record: Everything except its voxels.
        arrays: ``image`` (int16 HU in [-1024, 3071]), ``lungs`` (uint8) and,
            where a nodule has one, ``mask`` (uint8), each (z, y, x).
    """

    record: CaseRecord
    arrays: dict[str, np.ndarray]


def prepare_case(
    volume: Volume,
    lungs: LungField,
    references: References | None = None,
    *,
    excluded: Sequence[Annotation] = (),
    spacing_mm: float = 1.0,
    subset: int | None = None,
) -> PreparedCase:
    """Resample a scan to the grid used for training and testing.

    Args:
        volume: HU on the scan's grid.
        lungs: Its lungs, of ``find_lungs`` or ``lungs_of_scan``.
        references: Its nodules; None for none.
        excluded: Findings that are neither hit nor false positive.
        spacing_mm: Isotropic spacing of the case.
        subset: LUNA16 subset.

    Raises:
        AnnotationError: A nodule outside the scan or too wide, or over 255.
        GeometryError: A spacing that cannot be used.
    """
    references = references or References()
    source, nodules = volume.geometry, references.nodules
    _check_nodules(nodules, volume)
    boxes = nodule_boxes(nodules, source)
    widest = _with_masks(boxes, nodules)
    unusual = _unusual(volume, nodules)
    positions = in_air(volume, [n.annotation for n in nodules])
    grid, caveats = case_grid(source, lungs, widest, spacing_mm)
    arrays = {
        'image': resample_linear(volume.array, source, grid),
        'lungs': resample_lungs(lungs, grid),
    }
    mask, mask_boxes = number_masks(nodules, source, grid)
    if mask.any():
        arrays['mask'] = mask
    record = CaseRecord(
        series_uid=volume.series_uid,
        subset=subset,
        geometry=grid,
        source_geometry=volume.source_geometry or source,
        spacing_mm=spacing_mm,
        nodules=_case_nodules(
            nodules, move_boxes(boxes, source, grid), mask_boxes
        ),
        excluded=list(excluded),
        lung_mask=lungs.source,
        caveats=[
            *volume.caveats,
            *references.caveats,
            *positions,
            *lungs.caveats,
            *caveats,
            *unusual,
        ],
        patient_id=volume.patient_id or references.patient_id,
    )
    return PreparedCase(record, arrays)


def _unusual(volume: Volume, nodules: Sequence[ReferenceNodule]) -> list[str]:
    """Caveats about thick slices and large nodules."""
    caveats = []
    step = float(volume.geometry.spacing.max())
    if step > THICK_SLICES_MM + 1e-3:
        caveats.append(
            f'slices are {step:.3g} mm apart, more than {THICK_SLICES_MM:g}; '
            'small nodules may be missed, and sizes are coarse'
        )
    for number, nodule in enumerate(nodules, start=1):
        width = nodule.width_mm(volume.geometry)
        if width > MASS_MM:
            caveats.append(
                f'nodule {number} is {width:.4g} mm wide, more than any of '
                f'LUNA16 ({MASS_MM:g} mm are taken as the limit); check that '
                'it is one nodule'
            )
    return caveats


def _check_nodules(nodules: Sequence[ReferenceNodule], volume: Volume) -> None:
    where = f'scan {volume.series_uid}'
    if len(nodules) > MAX_NODULES:
        raise AnnotationError(
            f'{where}: {len(nodules)} nodules; masks number at most '
            f'{MAX_NODULES}. Are the labels those of nodules?'
        )
    for number, nodule in enumerate(nodules, start=1):
        check_width(nodule, volume.geometry, f'{where}: nodule {number}')
        center_mm = nodule.annotation.center_mm
        edge = volume.geometry.to_index(np.array([center_mm]))[0] + 0.5
        if (edge < 0).any() or (edge > volume.geometry.shape).any():
            raise AnnotationError(
                f'{where}: nodule {number} at {center_mm} mm lies '
                'outside the scan; centres are world mm (x, y, z) in LPS, '
                'in RAS x and y have the other sign. Correct the table'
                f'{_better_read(volume, nodules)}.'
            )


def _better_read(volume: Volume, nodules: Sequence[ReferenceNodule]) -> str:
    """A hint at frames in which the nodules would fit; empty if there are
    none."""
    tried, _, others = count_fits(volume, [n.annotation for n in nodules])
    fitting = [name for name, number in others.items() if number == tried]
    if not tried or not fitting:
        return ''
    return f'; every nodule would fit if read as {" or as ".join(fitting)}'


def nodule_boxes(
    nodules: Sequence[ReferenceNodule], geometry: Geometry
) -> np.ndarray:
    """Edge boxes (N, 6) in the scan's voxels, as given or of the spheres."""
    boxes = geometry.sphere_box(
        np.array([n.annotation.center_mm for n in nodules]).reshape(-1, 3),
        np.array([n.annotation.diameter_mm or 0.0 for n in nodules]),
    )
    for box, nodule in zip(boxes, nodules):
        if nodule.box is not None:
            box[:] = nodule.box
    return boxes


def _with_masks(
    boxes: np.ndarray, nodules: Sequence[ReferenceNodule]
) -> np.ndarray:
    """Boxes (N, 6) enlarged to contain the nodules' masks too."""
    widened = boxes.copy()
    for box, nodule in zip(widened, nodules):
        if nodule.mask is not None:
            box[:] = enclosing_box(np.stack([box, nodule.mask.box]))
    return widened


def _case_nodules(
    nodules: Sequence[ReferenceNodule],
    boxes: np.ndarray,
    mask_boxes: Sequence[np.ndarray | None],
) -> list[CaseNodule]:
    """Nodules of a case, their boxes given in its voxels."""
    return [
        CaseNodule(
            id=number,
            center_mm=nodule.annotation.center_mm,
            diameter_mm=float(nodule.annotation.diameter_mm or 0),
            box=tuple(box.tolist()),
            num_readers=nodule.annotation.num_readers,
            has_mask=mask_box is not None,
            mask_box=None if mask_box is None else tuple(mask_box.tolist()),
        )
        for number, (nodule, box, mask_box) in enumerate(
            zip(nodules, boxes, mask_boxes), start=1
        )
    ]
