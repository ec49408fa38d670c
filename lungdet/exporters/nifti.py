"""Masks as a label image on the scan's own grid."""

from __future__ import annotations

from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.painting import paint_masks, unpainted_caveats
from lungdet.io.image import write_image
from lungdet.structures import SeriesResult

MASKS = 'masks.nii.gz'


def write_nifti(folder: Path, scan: ExportInput) -> list[str]:
    """Write the label image; nothing if no detection has a mask."""
    if all(d.mask is None for d in scan.result.detections):
        return []
    grid = scan.result.scan_geometry
    write_image(folder / MASKS, paint_masks(scan.result, grid), grid)
    return [MASKS]


def nifti_caveats(result: SeriesResult) -> list[str]:
    """What the label image cannot show."""
    return unpainted_caveats(result, result.scan_geometry)


EXPORTER = Exporter([MASKS], write_nifti, caveats=nifti_caveats)
