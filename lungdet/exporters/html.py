"""The report of the scan as one page."""

from __future__ import annotations

from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.painting import paint_masks
from lungdet.report.html import PAGE


def write_html(folder: Path, scan: ExportInput) -> list[str]:
    """Write tables, and pictures if voxels were kept."""
    from lungdet.report.html.cine import ScanImage
    from lungdet.report.html.page import write_page
    from lungdet.report.html.scan_report import scan_page

    result, image = scan.result, None
    if scan.image is not None:
        image = ScanImage(
            scan.image,
            result.geometry,
            paint_masks(result, result.geometry),
        )
    write_page(folder / PAGE, scan_page(result, image))
    return [PAGE]


EXPORTER = Exporter([PAGE], write_html)
