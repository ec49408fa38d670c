"""A DICOM series folder to an array.

Headers are read and checked before pixels: SimpleITK's series reader silently
repairs or hides most defects (missing slices, duplicates, tilted gantries,
localizers, absent rescale values).

folder -> ``dicom_series`` (one series) -> ``dicom_copies`` (slices in order,
one per position) -> ``dicom_stack`` (their grid) -> ``dicom_pixels`` (values).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lungdet.io.dicom_copies import one_per_position
from lungdet.io.dicom_headers import SliceHeader
from lungdet.io.dicom_pixels import (
    forget_pixels,
    read_planes,
    resample_planes,
    shift_planes,
)
from lungdet.io.dicom_series import choose_series, list_series
from lungdet.io.dicom_stack import build_stack, slice_grid
from lungdet.io.file_image import FileImage
from lungdet.structures import SourceSlice


def read_dicom_series(
    folder: str | Path,
    *,
    series_uid: str | None = None,
    files: Iterable[Path] | None = None,
) -> FileImage:
    """Read one CT series.

    Args:
        folder: Searched eight levels deep; linked folders are not.
        series_uid: Which series. Without it the one with the thinnest
            slices, then the most slices, is taken, and a caveat says so.
        files: Its files, which are read instead of searching; see
            ``list_series``.

    Returns:
        int16 values, rescaled if the headers say how. Tilted gantries and
        uneven slices are resampled to a regular grid, with a caveat.

    Raises:
        SeriesError: No CT series, or a defect that cannot be repaired.
    """
    folder = Path(folder)
    listed = list_series(folder, files=files)
    series, caveats = choose_series(listed, folder, series_uid)
    where = f'{folder} (series {series.series_uid})'
    try:
        slices, of_copies = one_per_position(series.slices, where)
        stack = build_stack(slices, where)
        array, of_values = read_planes(slices)
    finally:
        forget_pixels()
    if stack.shifts is not None:
        array = shift_planes(array, stack.shifts)
    if stack.planes is not None:
        array = resample_planes(array, stack.planes)
    return FileImage(
        where,
        array,
        stack.geometry,
        caveats=(
            *series.caveats,
            *series.beside,
            *caveats,
            *of_copies,
            *stack.caveats,
            *of_values,
        ),
        series_uid=series.series_uid,
        patient_id=series.patient_id,
        lacks_rescale=not slices[0].has_rescale,
        slices=tuple(
            _source_slice(one, float(stack.geometry.spacing[0]))
            for one in slices
        ),
    )


def _source_slice(one: SliceHeader, step_mm: float) -> SourceSlice:
    uid, number = one.uid, one.instance
    if one.frame is not None:  # all frames have the file's
        uid, number = uid and uid.rpartition('.')[0], None
    grid = slice_grid(one, step_mm)
    return SourceSlice(one.path, grid, uid, number, one.frame)
