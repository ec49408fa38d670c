"""A csv that lists scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.io.table_file import TableFile

ADDRESS = '://'  # in what is no path
COLUMNS = ('path', 'seriesuid', 'lung_mask')


@dataclass(frozen=True)
class ManifestEntry:
    """One line of the csv.

    Attributes:
        location: Path of the scan, below the csv's folder unless absolute;
            or its address on a server.
        series_uid: Which series of a DICOM folder, or the name of the scan
            in an image file; None for any.
        lung_mask: Its lungs, likewise; None to find them.
        line: Number of the line, from 1.
    """

    location: str
    series_uid: str | None = None
    lung_mask: Path | None = None
    line: int = 0


def read_scan_manifest(path: str | Path) -> list[ManifestEntry]:
    """Read a csv with the column ``path`` and, where needed, the others.

    Raises:
        AnnotationError: No column ``path``, a line that is cut, or no line.
    """
    table, folder = TableFile(path), Path(path).parent
    lines = table.rows()
    header = [name.strip() for name in next(lines, (0, []))[1]]
    if 'path' not in header or len(set(header)) < len(header):
        raise AnnotationError(
            f'{table}: its first line is no header of a list of scans; that '
            f'has the column path, and may have {" and ".join(COLUMNS[1:])}, '
            'each once.'
        )
    entries = []
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise AnnotationError(
                f'{table}:{line}: {len(cells)} cells, the header has '
                f'{len(header)}; correct the line.'
            )
        values = dict(zip(header, (cell.strip() for cell in cells)))
        if not values['path']:
            raise AnnotationError(
                f'{table}:{line}: path is empty; name the scan, or remove the '
                'line.'
            )
        mask, location = values.get('lung_mask'), values['path']
        entries.append(
            ManifestEntry(
                location if ADDRESS in location else str(folder / location),
                values.get('seriesuid') or None,
                folder / mask if mask else None,
                line,
            )
        )
    if not entries:
        raise AnnotationError(f'{table}: lists no scan; write one per line.')
    return entries
