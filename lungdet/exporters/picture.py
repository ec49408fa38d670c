"""The best detections in three planes."""

from __future__ import annotations

from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.io.atomic import atomic_path

PICTURES = 'marks.png'
MAX_PICTURES = 8  # detections on the sheet


def write_picture(folder: Path, scan: ExportInput) -> list[str]:
    """Draw the best detections; nothing if there are none, or no voxels."""
    best = scan.result.detections[:MAX_PICTURES]
    if not best or scan.image is None:
        return []
    from lungdet.report.figures import picture_sheet
    from lungdet.report.pictures import detection_picture

    geometry = scan.result.geometry
    sheet = picture_sheet(
        [detection_picture(scan.image, geometry, d) for d in best]
    )
    with atomic_path(folder / PICTURES) as aside:
        sheet.savefig(aside, dpi=110)
    return [PICTURES]


EXPORTER = Exporter([PICTURES], write_picture)
