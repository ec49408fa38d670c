"""A scan's image, lungs and nodules on the grid of a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import (
    Geometry,
    box_of_mask,
    move_boxes,
)
from lungdet.prepare.grid import case_grid
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.prepare.positions import count_fits, in_air
from lungdet.prepare.references import ReferenceNodule, References
from lungdet.prepare.resample import (
    resample_linear,
    resample_lungs,
    resample_mask,
)
from lungdet.structures import Annotation, CaseNodule, CaseRecord, Volume

MAX_NODULES = 255  # numbers of a uint8 mask
THICK_MM = 3.0  # slices farther apart hide small nodules; LUNA16 takes 2.5
LARGE_MM = 40.0  # a lesion over 30 mm is a mass; LUNA16's largest has 32


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
    references: References | None = None,
    *,
    lungs: LungField | None = None,
    excluded: Sequence[Annotation] = (),
    spacing_mm: float = 1.0,
    subset: int | None = None,
) -> PreparedCase:
    """Resample a scan to the grid used for training and testing.

    Args:
        volume: HU on the scan's grid.
        references: Its nodules; None for none.
        lungs: A lung field; None to segment it here.
        excluded: Findings that are neither hit nor false positive.
        spacing_mm: Isotropic spacing of the case.
        subset: LUNA16 subset.

    Raises:
        AnnotationError: A nodule outside the scan, or more than 255.
        GeometryError: A spacing that cannot be used.
    """
    references = references or References()
    source, nodules = volume.geometry, references.nodules
    _check_nodules(nodules, volume)
    lungs = lungs or find_lungs(volume)
    boxes = nodule_boxes(nodules, source)
    grid, caveats = case_grid(
        source, lungs, _with_masks(boxes, nodules), spacing_mm
    )
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
            *in_air(volume, [n.annotation for n in nodules]),
            *lungs.caveats,
            *caveats,
            *_unusual(volume, nodules),
        ],
        patient_id=volume.patient_id or references.patient_id,
    )
    return PreparedCase(record, arrays)


def _unusual(volume: Volume, nodules: Sequence[ReferenceNodule]) -> list[str]:
    """Caveats of thick slices and large nodules."""
    caveats = []
    step = float(volume.geometry.spacing.max())
    if step > THICK_MM + 1e-3:
        caveats.append(
            f'slices are {step:.3g} mm apart, more than {THICK_MM:g}; small '
            'nodules may be missed, and sizes are coarse'
        )
    for number, nodule in enumerate(nodules, start=1):
        diameter = nodule.annotation.diameter_mm or 0
        if diameter > LARGE_MM:
            caveats.append(
                f'nodule {number} is {diameter:.4g} mm wide, more than any of '
                f'LUNA16 ({LARGE_MM:g} mm are taken as the limit); check that '
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
    """In which frame the nodules of a scan would lie on something."""
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
            box[:3] = np.minimum(box[:3], nodule.mask.box[:3])
            box[3:] = np.maximum(box[3:], nodule.mask.box[3:])
    return widened


def number_masks(
    nodules: Sequence[ReferenceNodule], source: Geometry, grid: Geometry
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """The nodules' masks as one array of their numbers.

    Args:
        nodules: With masks on ``source``, or without.
        source: Grid of the scan.
        grid: Grid of the case.

    Returns:
        uint8 (z, y, x) of numbers from 1, the first one where two overlap; and
        for each nodule the edge box (6,) of its voxels, None if there are
        none.
    """
    numbers = np.zeros(grid.shape, dtype=np.uint8)
    boxes: list[np.ndarray | None] = []
    for number, nodule in enumerate(nodules, start=1):
        if nodule.mask is None:
            boxes.append(None)
            continue
        region, voxels = resample_mask(nodule.mask, source, grid)
        free = voxels & (numbers[region] == 0)
        numbers[region][free] = number
        box = box_of_mask(free)
        start = np.tile([part.start for part in region], 2)
        boxes.append(None if box is None else box + start)
    return numbers, boxes


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
