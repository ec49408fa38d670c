"""Reference nodules from a table of boxes in world mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, move_boxes
from lungdet.io.luna16 import MAX_DIAMETER_MM, has_column, read_numbers
from lungdet.io.table_file import Table
from lungdet.prepare.references import ReferenceNodule, References
from lungdet.structures import Annotation, Volume

COLUMNS = ('x1', 'y1', 'z1', 'x2', 'y2', 'z2')
WorldBox = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class BoxReferences:
    """World boxes (x1, y1, z1, x2, y2, z2) mm, LPS, of one scan."""

    boxes: tuple[WorldBox, ...]

    def read(self, volume: Volume) -> References:
        """One nodule per box; its diameter is the side of the equal cube."""
        return References(
            tuple(_nodule(box, volume.geometry) for box in self.boxes)
        )

    def table_rows(self) -> Sequence[Annotation]:
        """Centre and diameter of each box."""
        return [_annotation(box) for box in self.boxes]

    def settings(self) -> dict[str, Any]:
        """The boxes."""
        return {'boxes': [[*box] for box in self.boxes]}

    def files(self) -> Sequence[Path]:
        """No file: the boxes were read before."""
        return ()


def _nodule(box: WorldBox, geometry: Geometry) -> ReferenceNodule:
    """On a grid that is turned, the box is that of ``move_boxes``."""
    x1, y1, z1, x2, y2, z2 = box
    one_voxel = Geometry.from_parts(
        (1, 1, 1),
        spacing_zyx=(z2 - z1, y2 - y1, x2 - x1),
        origin_xyz=((x1 + x2) / 2, (y1 + y2) / 2, (z1 + z2) / 2),
    )
    edges = move_boxes(np.array([0, 0, 0, 1, 1, 1]), one_voxel, geometry)
    a, b, c, d, e, f = edges[0].tolist()
    return ReferenceNodule(_annotation(box), (a, b, c, d, e, f))


def _annotation(box: WorldBox) -> Annotation:
    x1, y1, z1, x2, y2, z2 = box
    volume_mm3 = (x2 - x1) * (y2 - y1) * (z2 - z1)
    center_mm = ((x1 + x2) / 2, (y1 + y2) / 2, (z1 + z2) / 2)
    return Annotation(center_mm, volume_mm3 ** (1 / 3))


def has_boxes(path: Table) -> bool:
    """Whether a table's header names corners and not diameters."""
    return all(has_column(path, name) for name in COLUMNS)


def read_boxes(path: Table) -> dict[str, list[WorldBox]]:
    """World boxes (x1, y1, z1, x2, y2, z2) mm, LPS, by series uid.

    Raises:
        AnnotationError: An invalid row; the message has file and line.
    """
    table: dict[str, list[WorldBox]] = {}
    rows = read_numbers(path, ('seriesuid', *COLUMNS))
    for line, uid, (x1, y1, z1, x2, y2, z2) in rows:
        if not (x1 < x2 and y1 < y2 and z1 < z2):
            raise AnnotationError(
                f'{path}:{line}: the box {x1:g}..{x2:g}, {y1:g}..{y2:g}, '
                f'{z1:g}..{z2:g} mm has no volume; corner 1 is the lower '
                'one along every axis. Correct the row.'
            )
        largest = max(x2 - x1, y2 - y1, z2 - z1)
        if largest > MAX_DIAMETER_MM:
            raise AnnotationError(
                f'{path}:{line}: a side of {largest:g} mm, more than '
                f'{MAX_DIAMETER_MM:g}; corners are world mm of one nodule. '
                'Correct or remove the row.'
            )
        table.setdefault(uid, []).append((x1, y1, z1, x2, y2, z2))
    return table
