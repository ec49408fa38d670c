"""What the loader of every image format returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import SourceSlice


@dataclass(frozen=True, eq=False)
class FileImage:
    """Values as stored in a file or a series, not yet HU.

    Attributes:
        where: File or series, for messages.
        array: (z, y, x), in the file's type.
        geometry: Grid of ``array``, as the file states it.
        caveats: What was repaired or is doubtful, in words.
        series_uid: Where the file states it.
        patient_id: Where the file states it.
        lacks_rescale: Whether the header should say how stored values become
            HU, and does not.
        slices: Slices of a DICOM series, in order along their normal.
    """

    where: str
    array: np.ndarray
    geometry: Geometry
    caveats: tuple[str, ...] = ()
    series_uid: str = ''
    patient_id: str | None = None
    lacks_rescale: bool = False
    slices: tuple[SourceSlice, ...] = ()
