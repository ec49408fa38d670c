"""The whole scans of the real test data."""

from __future__ import annotations

from pathlib import Path


def real_scans(data: Path) -> list[Path]:
    """Nine image files and DICOM folders, of three collections."""
    return sorted(
        [
            *data.glob('luna16-m*/subset?/*.mhd'),
            *data.glob('luna16-mini/subset1-dicom/*'),
            *data.glob('backgrounds/scans/*.mhd'),
        ]
    )
