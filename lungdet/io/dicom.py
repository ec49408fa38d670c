"""A DICOM series folder to one volume.

Headers are read and judged first (pydicom), then pixels. The reader behind
SimpleITK repairs or hides most defects without a word: missing slices,
duplicates, tilted gantries, localizers, absent rescale values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.hounsfield import AIR_HU
from lungdet.io.dicom_headers import (
    BROKEN,
    Slice,
    choose_series,
    list_series,
)
from lungdet.io.image import canonical, to_hu
from lungdet.io.limits import SLICES, check_chest, check_grid
from lungdet.structures import Volume

RAW_SYNTAXES = {
    '1.2.840.10008.1.2',
    '1.2.840.10008.1.2.1',
    '1.2.840.10008.1.2.2',
    '1.2.840.10008.1.2.1.99',
}
DUPLICATE_MM = 0.01  # slices nearer than this are at one place
TILT_DEG, MAX_TILT_DEG = 0.5, 30.0
PLANE_TOL_MM = 0.5  # a slice farther off the line of the others is misplaced
JITTER_MM, JITTER_SHARE = 0.02, 0.01
MAX_GAP_SLICES, MAX_GAP_SHARE = 2, 0.05
MAX_SPACING_RATIO = 3.0
SPACING_RUN = 3  # so many equal wide steps in a row are no missing slices
HU_TYPES = {'HU', 'US'}  # US: unspecified


def load_dicom_series(
    folder: str | Path,
    *,
    series_uid: str | None = None,
    hu_offset: int | None = None,
) -> Volume:
    """Read one CT series.

    Args:
        folder: Searched eight levels deep; links are not followed.
        series_uid: Which series. Without it the one with the thinnest
            slices, then the most slices, is taken, and a warning says so.
        hu_offset: Added to values that were stored without their offset.

    Returns:
        int16 HU turned to identity direction where axes permit.

    Raises:
        SeriesError: No CT series, or a defect that cannot be repaired.
    """
    chosen = choose_series(list_series(folder), Path(folder), series_uid)
    where = f'{folder} (series {chosen.series_uid})'
    caveats = list(chosen.caveats)
    slices = _one_per_place(chosen.slices, where, caveats)
    _check_rescale(slices, where, caveats)
    shifts = _plane_shifts(slices, where, caveats)
    distance = _distances(slices)
    places = _even_places(slices, where, caveats)
    first = slices[0]
    step = (places[-1] - places[0]) / (len(places) - 1)
    shape = (len(places), first.rows, first.columns)
    check_grid(where, shape, (step, *first.spacing), 2)
    try:
        geometry = Geometry.from_parts(
            shape,
            spacing_zyx=(step, *first.spacing),
            origin_xyz=first.position.tolist(),
            direction=np.stack(
                [first.orientation[:3], first.orientation[3:], first.normal],
                axis=1,
            ),
        )
    except GeometryError as error:
        raise SeriesError(f'{where}: {error}') from error
    array = _read(slices, where, hu_offset)
    if shifts is not None:
        for plane, (rows, columns) in zip(array, shifts):
            plane[:] = _shift_plane(plane, rows, columns)
    if not np.array_equal(places, distance):
        array = _interpolate(array, distance, places)
    hu = to_hu(array, where, caveats, hu_offset=hu_offset)
    volume = canonical(Volume(hu, geometry, chosen.series_uid, caveats))
    check_chest(where, volume.geometry)
    volume.patient_id = chosen.patient_id
    return volume


def _distances(slices: Sequence[Slice]) -> np.ndarray:
    """Place of every slice along the normal of the first, mm."""
    return np.array([s.position @ slices[0].normal for s in slices])


def _one_per_place(
    slices: list[Slice], where: str, caveats: list[str]
) -> list[Slice]:
    """Slices in order along the normal, copies and old acquisitions gone."""
    kept = _without_copies(slices, caveats)
    clash = _clash(kept)
    if clash:
        kept = _last_acquisition(kept, where, caveats)
        clash = _clash(kept)
    if clash:
        one, other, z = clash
        raise SeriesError(
            f'{where}: {one} and {other} are two different images at one '
            f'place ({z:.1f} mm along the normal); remove one of them, or '
            'export the acquisitions as two series.'
        )
    if len(kept) < SLICES[0]:
        raise SeriesError(
            f'{where}: {len(kept)} slices are no volume; check that the '
            'whole series was copied.'
        )
    return kept


def _without_copies(slices: list[Slice], caveats: list[str]) -> list[Slice]:
    normal = slices[0].normal
    kept: list[Slice] = []
    copies = []
    for one in sorted(slices, key=lambda s: (s.position @ normal, s.path)):
        near = [s for s in kept[-4:] if _at_one_place(s, one)]
        if any(_is_copy(one, other) for other in near):
            copies.append(one.name)
        else:
            kept.append(one)
    if copies:
        caveats.append(
            f'{len(copies)} duplicate slices left out: {", ".join(copies)}'
        )
    return kept


def _at_one_place(a: Slice, b: Slice) -> bool:
    return abs((a.position - b.position) @ a.normal) <= DUPLICATE_MM


def _is_copy(a: Slice, b: Slice) -> bool:
    if a.uid is not None and a.uid == b.uid:
        return True
    return np.array_equal(_values(a), _values(b))


def _clash(slices: list[Slice]) -> tuple[str, str, float] | None:
    """Names of two images at one place, and the place."""
    for one, other in zip(slices, slices[1:]):
        if _at_one_place(one, other):
            place = float(one.position @ one.normal)
            return one.name, other.name, place
    return None


def _last_acquisition(
    slices: list[Slice], where: str, caveats: list[str]
) -> list[Slice]:
    """Slices of the last acquisition, if it covers every place; else all."""
    for name in ('acquisition', 'time'):
        labels = {getattr(s, name) for s in slices}
        if len(labels) == 1 or None in labels:
            continue
        last = max(labels)
        kept = [s for s in slices if getattr(s, name) == last]
        places = _distances(kept)
        gaps = [
            np.abs(places - s.position @ kept[0].normal).min() for s in slices
        ]
        if max(gaps) <= DUPLICATE_MM:
            caveats.append(
                f'{len(labels)} acquisitions at the same places; took '
                f'{name} {last}, the last'
            )
            return kept
    return slices


def _check_rescale(
    slices: list[Slice], where: str, caveats: list[str]
) -> None:
    lacking = [s for s in slices if not s.has_rescale]
    if 0 < len(lacking) < len(slices):
        names = ', '.join(s.name for s in lacking)
        raise SeriesError(
            f'{where}: {len(lacking)} slices lack RescaleSlope or Intercept '
            f'({names}); their HU are unknown. Export the series again.'
        )
    for one in slices:
        if one.slope == 0:
            raise SeriesError(
                f'{one.path}: RescaleSlope is 0; every voxel would be equal. '
                'Export the series again.'
            )
    kinds = {s.rescale_type or 'HU' for s in slices} - HU_TYPES
    if kinds:
        caveats.append(
            f'RescaleType is {", ".join(sorted(kinds))}, not HU; '
            'values may be of another scale'
        )


def _plane_shifts(
    slices: list[Slice], where: str, caveats: list[str]
) -> np.ndarray | None:
    """Voxels (rows, columns) by which a tilted gantry moved every slice."""
    first = slices[0]
    shift = np.array([s.position for s in slices]) - first.position
    along = shift @ first.normal
    inside = shift - along[:, None] * first.normal
    # medians: one misplaced slice must not turn the line it is judged by
    lean = np.median(np.diff(inside, axis=0) / np.diff(along)[:, None], 0)
    off = inside - along[:, None] * lean
    off = np.linalg.norm(off - np.median(off, axis=0), axis=1)
    if off.max() > PLANE_TOL_MM:
        worst = slices[int(off.argmax())]
        raise SeriesError(
            f'{where}: {worst.name} lies {off.max():.1f} mm beside the '
            f'line of the other slices ({worst.position.tolist()} mm); '
            'remove it, or export the series again.'
        )
    angle = float(np.degrees(np.arctan(np.linalg.norm(lean))))
    if angle < TILT_DEG:
        return None
    if angle > MAX_TILT_DEG:
        raise SeriesError(
            f'{where}: the gantry is tilted by {angle:.0f} degrees, above '
            f'{MAX_TILT_DEG:g}; reformat the series at the console.'
        )
    caveats.append(
        f'gantry tilted by {angle:.1f} degrees; slices were shifted back'
    )
    axes = np.stack([first.orientation[3:], first.orientation[:3]], axis=1)
    return inside @ axes / first.spacing


def _even_places(
    slices: list[Slice], where: str, caveats: list[str]
) -> np.ndarray:
    """Places along the normal, one step apart; new ones need interpolation.

    Steps within jitter stay as they are.
    """
    distance = _distances(slices)
    steps = np.diff(distance)
    step = float(np.median(steps))
    if np.abs(steps - step).max() <= max(JITTER_MM, JITTER_SHARE * step):
        return distance
    counts = np.rint(steps / step)
    whole = np.abs(steps - counts * step).max() <= 0.1 * step
    if whole and counts.min() >= 1 and not _has_second_spacing(counts):
        caveats.append(_filled(slices, distance, counts, where))
    elif steps.max() / steps.min() > MAX_SPACING_RATIO:
        raise SeriesError(
            f'{where}: slices lie from {_pair(slices, steps.argmin())} '
            f'{steps.min():.2f} mm to {_pair(slices, steps.argmax())} '
            f'{steps.max():.2f} mm apart; remove what does not belong, or '
            'export one spacing.'
        )
    else:
        caveats.append(
            f'slice spacing varies from {steps.min():.2f} mm '
            f'({_pair(slices, steps.argmin())}) to {steps.max():.2f} mm '
            f'({_pair(slices, steps.argmax())}); resampled evenly'
        )
        step = float(steps.min())
    count = round((distance[-1] - distance[0]) / step) + 1
    return np.linspace(distance[0], distance[-1], count)


def _has_second_spacing(counts: np.ndarray) -> bool:
    """Whether wide steps of one width follow each other, as gaps do not."""
    return any(
        count > 1 and len(list(run)) >= SPACING_RUN
        for count, run in groupby(counts)
    )


def _pair(slices: list[Slice], at: np.integer) -> str:
    return f'{slices[at].name} and {slices[at + 1].name}'


def _filled(
    slices: list[Slice], distance: np.ndarray, counts: np.ndarray, where: str
) -> str:
    """A note that names the slices to interpolate.

    Raises:
        SeriesError: Too many are missing.
    """
    missing = (counts - 1).astype(int)
    total, at = int(missing.sum()), missing.argmax()
    if missing[at] > MAX_GAP_SLICES or total > MAX_GAP_SHARE * (
        len(slices) + total
    ):
        raise SeriesError(
            f'{where}: {total} slices are missing, {missing[at]} of them '
            f'between {distance[at]:.1f} and {distance[at + 1]:.1f} mm along '
            f'the normal ({_pair(slices, at)}); copy the whole series.'
        )
    gaps = ', '.join(
        f'{distance[k]:.1f} and {distance[k + 1]:.1f} mm ({_pair(slices, k)})'
        for k in np.flatnonzero(missing)
    )
    return f'{total} missing slices were interpolated between {gaps}'


def _read(
    slices: list[Slice], where: str, hu_offset: int | None
) -> np.ndarray:
    """int16 values (z, y, x), rescaled where the headers say how."""
    first = slices[0]
    limits = np.iinfo(np.int16)
    array = np.empty((len(slices), first.rows, first.columns), np.int16)
    for plane, one in zip(array, slices):
        plane[:] = np.clip(np.rint(_values(one)), limits.min, limits.max)
    _stored.cache_clear()
    if not first.has_rescale and hu_offset is None and array.min() > AIR_HU:
        raise SeriesError(
            f'{where}: no slice has RescaleSlope and Intercept; if a stored '
            '0 is -1024 HU give --hu-offset -1024.'
        )
    return array


def _values(one: Slice) -> np.ndarray:
    """Pixels of a slice, rescaled where its header says how."""
    if one.syntax in RAW_SYNTAXES or one.frame is not None:
        return _raw(one)
    return _decoded(one)


@lru_cache(maxsize=1)  # the frames of a file are asked for one by one
def _stored(path: Path) -> np.ndarray:
    """Stored values (frames, rows, columns) of a file."""
    from pydicom.pixels import pixel_array

    array = pixel_array(path)
    return array if array.ndim == 3 else array[None]


def _raw(one: Slice) -> np.ndarray:
    """Rescaled values of an uncompressed slice, or of any frame."""
    try:
        stored = _stored(one.path)[one.frame or 0]
    except BROKEN as error:
        raise SeriesError(
            f'{one.path}: pixels cannot be read ({error}); the file may be '
            'cut, copy it again.'
        ) from error
    except RuntimeError as error:
        raise SeriesError(
            f'{one.path}: frames of transfer syntax {one.syntax} cannot be '
            f'decoded ({error}); export the series uncompressed.'
        ) from error
    spare = max(16 - (one.bits or 16), 0)  # overlays may hide up there
    values = (stored << spare) >> spare
    if not one.has_rescale:
        return values
    return values * np.float32(one.slope) + np.float32(one.intercept)


def _decoded(one: Slice) -> np.ndarray:
    """Rescaled values of a compressed slice, as SimpleITK gives them."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(one.path))
    except RuntimeError as error:
        raise SeriesError(
            f'{one.path}: transfer syntax {one.syntax} cannot be decoded '
            f'({str(error).strip().splitlines()[-1]}); export the series '
            'uncompressed.'
        ) from error
    array = sitk.GetArrayFromImage(image).reshape(-1, *image.GetSize()[1::-1])
    if array.shape != (1, one.rows, one.columns):
        raise SeriesError(
            f'{one.path}: decodes to {array.shape}, the header says '
            f'{one.rows} x {one.columns}; copy it again.'
        )
    return array[0]


def _shift_plane(plane: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Sample a plane at (row - dy, column - dx), linear, edges repeated."""
    out = plane.astype(np.float32)
    for axis, shift in ((0, dy), (1, dx)):
        place = np.clip(
            np.arange(out.shape[axis]) - shift, 0, out.shape[axis] - 1
        )
        low = np.minimum(place.astype(int), out.shape[axis] - 2)
        share = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
        out = (
            out.take(low, axis) * (1 - share) + out.take(low + 1, axis) * share
        )
    return np.rint(out).astype(plane.dtype)


def _interpolate(
    array: np.ndarray, distance: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Planes at ``places``, linear between those at ``distance``."""
    high = np.clip(np.searchsorted(distance, places), 1, len(distance) - 1)
    share = (places - distance[high - 1]) / np.diff(distance)[high - 1]
    out = np.empty((len(places), *array.shape[1:]), dtype=array.dtype)
    for k in range(len(places)):
        low_plane = array[high[k] - 1].astype(np.float32)
        high_plane = array[high[k]].astype(np.float32)
        out[k] = np.rint(low_plane + share[k] * (high_plane - low_plane))
    return out
