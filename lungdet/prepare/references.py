"""A scan's reference nodules, from any source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lungdet.errors import AnnotationError, counted
from lungdet.geometry import Geometry
from lungdet.io.case_json import annotation_to_json
from lungdet.io.luna16 import MAX_DIAMETER_MM
from lungdet.structures import Annotation, Volume

Rows = Mapping[str, Sequence[Annotation | tuple[float, ...]]]
MAX_NODULES = 255  # numbers of a uint8 mask
MASS_MM = 40.0  # too large for a nodule; the largest of LUNA16 has 32
EdgeBox = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, eq=False)
class NoduleMask:
    """The voxels of one nodule.

    Attributes:
        start: First voxel (z, y, x) of the crop in the scan.
        voxels: Boolean crop (d, h, w), tight on every side.
    """

    start: tuple[int, int, int]
    voxels: np.ndarray

    @property
    def box(self) -> np.ndarray:
        """Edge box (6,) in the scan's voxels."""
        start = np.array(self.start, dtype=np.float64)
        return np.concatenate([start, start + self.voxels.shape])

    def width_mm(self, geometry: Geometry) -> float:
        """Its longest side.

        Args:
            geometry: Grid of the scan.
        """
        return float(np.multiply(self.voxels.shape, geometry.spacing).max())


@dataclass(frozen=True)
class ReferenceNodule:
    """One reference nodule of a scan.

    Attributes:
        annotation: Centre and diameter.
        box: Edge box in the scan's voxels, None for the cube of the
            diameter.
        mask: Its voxels on the scan's grid, None if not outlined.
    """

    annotation: Annotation
    box: EdgeBox | None = None
    mask: NoduleMask | None = None

    def width_mm(self, geometry: Geometry) -> float:
        """The larger of its diameter and the longest side of its mask.

        Args:
            geometry: Grid of the scan.
        """
        diameter = self.annotation.diameter_mm or 0.0
        if self.mask is None:
            return diameter
        return max(diameter, self.mask.width_mm(geometry))


def check_width(
    nodule: ReferenceNodule, geometry: Geometry, where: str
) -> None:
    """Refuse organs and damaged outlines: the limit is that of tables.

    Args:
        nodule: From any source.
        geometry: Grid of the scan.
        where: Its file and number, for the message.

    Raises:
        AnnotationError: It is wider than ``MAX_DIAMETER_MM``.
    """
    width = nodule.width_mm(geometry)
    if width > MAX_DIAMETER_MM:
        raise AnnotationError(
            f'{where} is a nodule that reaches over {width:.0f} mm; the limit '
            f'is {MAX_DIAMETER_MM:g}. A lung or another organ is not a '
            'nodule, and its outlines may be damaged: give nodules.'
        )


@dataclass(frozen=True)
class References:
    """The reference nodules of a scan.

    Attributes:
        nodules: In the order of their numbers, from 1.
        caveats: What anyone who uses the case must know about them.
        patient_id: The patient, if this source states it.
    """

    nodules: tuple[ReferenceNodule, ...] = ()
    caveats: tuple[str, ...] = ()
    patient_id: str | None = None


class ReferenceSource(Protocol):
    """A scan's entry in a table, its label image, or its reader XML."""

    def read(self, volume: Volume) -> References:
        """The nodules on the grid of a volume.

        Raises:
            AnnotationError: An entry that does not fit the scan.
        """
        ...

    def table_rows(self) -> Sequence[Annotation]:
        """Centres as a table states them; none for nodules given as voxels."""
        ...

    def settings(self) -> dict[str, Any]:
        """What the case depends on, as plain JSON values."""
        ...

    def files(self) -> Sequence[Path]:
        """Files that ``read`` opens."""
        ...


@dataclass(frozen=True)
class TableReferences:
    """Centres and diameters of a table; no rows means no nodules."""

    annotations: tuple[Annotation, ...] = ()

    def read(self, volume: Volume) -> References:
        """One nodule per row; the volume is not needed."""
        return References(tuple(map(ReferenceNodule, self.annotations)))

    def table_rows(self) -> Sequence[Annotation]:
        """The rows."""
        return self.annotations

    def settings(self) -> dict[str, Any]:
        """The rows."""
        return {
            'annotations': [annotation_to_json(a) for a in self.annotations]
        }

    def files(self) -> Sequence[Path]:
        """No file: the rows were read before."""
        return ()


def refuse_repeated(path: Path, table: Rows) -> None:
    """Refuse a table that names a nodule twice.

    It would count as two in every sensitivity, and be trained on twice.

    Args:
        path: Path of the table, for the message.
        table: Nodules or boxes by the name of their scan.

    Raises:
        AnnotationError: A row is repeated.
    """
    for name, rows in table.items():
        repeated = [row for row, times in Counter(rows).items() if times > 1]
        if repeated:
            raise AnnotationError(
                f'{path}: {name} has {counted(len(repeated), "nodule")} in '
                f'several equal rows, first {repeated[0]}; each would count '
                'once more. Remove the repeated rows.'
            )
