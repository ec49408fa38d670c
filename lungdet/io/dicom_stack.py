"""The regular grid of the slices of one series, from headers alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lungdet.errors import GeometryError, SeriesError, counted
from lungdet.geometry import Geometry
from lungdet.io.dicom_headers import SliceHeader
from lungdet.io.limits import check_grid

TILT_DEG, MAX_TILT_DEG = 0.5, 30.0
PLANE_TOL_MM = 0.5  # a slice farther off the common line is misplaced
JITTER_MM, JITTER_FRACTION = 0.02, 0.01
MULTIPLE_TOL = 0.1  # of a step: wider steps are whole multiples of it
MAX_GAP_SLICES, MAX_GAP_FRACTION = 2, 0.05
MAX_SPACING_RATIO = 3.0
SPACING_RUN = 3  # this many equal wide steps in a row are not missing slices
HU_TYPES = {'HU', 'US'}  # US: unspecified
SHIFT_TOL = 0.05  # of a voxel: positions are rounded


@dataclass(frozen=True, eq=False)
class Stack:
    """How slices in order along their normal map to a grid.

    Attributes:
        geometry: The regular grid; of a tilted gantry, it holds every slice
            where it lies.
        shifts: Voxels (n, 2) along rows and columns from the first voxel of
            the grid to that of each slice, which a tilted gantry moved; None
            for a straight one.
        planes: For each plane of ``geometry`` its index among the slices, to
            interpolate at; None where they are the slices themselves.
        caveats: What was repaired or is doubtful.
    """

    geometry: Geometry
    shifts: np.ndarray | None
    planes: np.ndarray | None
    caveats: list[str]


def build_stack(slices: list[SliceHeader], where: str) -> Stack:
    """Check the rescaling and the positions of slices, and find their grid.

    Args:
        slices: Headers of one series, one per position, in order.
        where: Folder and series, for messages.

    Raises:
        SeriesError: Slices that do not form a volume.
    """
    of_rescale = _check_rescale(slices, where)
    first = slices[0]
    try:
        # mm along the normal, voxels along rows and columns
        index = slice_grid(first, 1.0).to_index([s.position for s in slices])
        shifts, of_tilt = _tilt(slices, index, where)
        planes, of_gaps = _planes(slices, index[:, 0], where)
        count = len(slices if planes is None else planes)
        step = float(index[-1, 0] - index[0, 0]) / (count - 1)
        geometry = slice_grid(first, step, count)
        if shifts is not None:
            geometry, shifts = _enlarged(geometry, shifts)
    except GeometryError as error:
        raise SeriesError(f'{where}: {error}') from error
    check_grid(where, geometry.shape, (step, *first.spacing), itemsize=2)
    return Stack(geometry, shifts, planes, [*of_rescale, *of_tilt, *of_gaps])


def slice_grid(first: SliceHeader, step_mm: float, count: int = 1) -> Geometry:
    """Grid of ``count`` slices that starts with the first one.

    Args:
        first: It, or any other of the stack.
        step_mm: Their distance along the normal.
        count: Number of slices.

    Raises:
        GeometryError: The row and column directions are not orthonormal.
    """
    right, down = first.orientation[:3], first.orientation[3:]
    return Geometry.from_parts(
        (count, first.rows, first.columns),
        spacing_zyx=(step_mm, *first.spacing),
        origin_xyz=first.position.tolist(),
        direction=np.stack([right, down, first.normal], axis=1),
    )


def _enlarged(
    geometry: Geometry, shifts: np.ndarray
) -> tuple[Geometry, np.ndarray]:
    """The grid that holds all shifted slices, and the shifts from its start.

    It starts whole voxels before the first slice, whose values stay exact.
    """
    start = np.floor(shifts.min(axis=0) + SHIFT_TOL)
    from_start = shifts - start
    planes, *sides = geometry.shape
    rows, columns = np.add(sides, extension(from_start)).tolist()
    grid = geometry.crop((0, *start.tolist()), (planes, rows, columns))
    return grid, from_start


def extension(shifts: np.ndarray) -> np.ndarray:
    """Rows and columns (2,) that the grid of shifted slices has beyond one.

    Args:
        shifts: As of ``Stack``.
    """
    return np.ceil(shifts.max(axis=0) - SHIFT_TOL).astype(int)


def _check_rescale(slices: list[SliceHeader], where: str) -> list[str]:
    lacking = [s for s in slices if not s.has_rescale]
    if 0 < len(lacking) < len(slices):
        names = ', '.join(s.name for s in lacking)
        raise SeriesError(
            f'{where}: {counted(len(lacking), "slice")} without RescaleSlope '
            f'or Intercept ({names}), whose HU are unknown. Export the series '
            'again.'
        )
    for one in slices:
        if one.slope is not None and one.slope <= 0:
            what = 'equal' if one.slope == 0 else 'upside down'
            raise SeriesError(
                f'{one.path}: RescaleSlope is {one.slope:g}; every voxel '
                f'would be {what}. Export the series again.'
            )
        if one.slope not in (None, 1) and one.intercept is None:
            raise SeriesError(
                f'{one.path}: RescaleSlope is {one.slope:g} without a '
                'RescaleIntercept; its HU are unknown. Export the series '
                'again.'
            )
    kinds = {s.rescale_type or 'HU' for s in slices} - HU_TYPES
    if not kinds:
        return []
    return [
        f'RescaleType is {", ".join(sorted(kinds))}, not HU; values may be '
        'of another scale'
    ]


def _tilt(
    slices: list[SliceHeader], index: np.ndarray, where: str
) -> tuple[np.ndarray | None, list[str]]:
    """Voxels (rows, columns) by which a tilted gantry moved every slice.

    Args:
        slices: In order.
        index: Their origins (n, 3): mm along the normal of the first, voxels
            along its rows and columns.
        where: For messages.
    """
    along = index[:, 0]
    inside = index[:, 1:] * slices[0].spacing  # mm
    # medians: a misplaced slice must not tilt the line it is compared with
    lean = np.median(np.diff(inside, axis=0) / np.diff(along)[:, None], axis=0)
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
        return None, []
    if angle > MAX_TILT_DEG:
        raise SeriesError(
            f'{where}: the gantry is tilted by {angle:.0f} degrees, above '
            f'{MAX_TILT_DEG:g}; reformat the series at the console.'
        )
    return index[:, 1:], [
        f'gantry tilted by {angle:.1f} degrees; slices were shifted back'
    ]


def _planes(
    slices: list[SliceHeader], along: np.ndarray, where: str
) -> tuple[np.ndarray | None, list[str]]:
    """Indices among the slices of planes that lie one step apart.

    None if the slices are evenly spaced, apart from jitter.

    Args:
        slices: In order.
        along: Their positions (n,) along the normal, mm.
        where: For messages.
    """
    steps = np.diff(along)
    step = float(np.median(steps))
    if np.abs(steps - step).max() <= max(JITTER_MM, JITTER_FRACTION * step):
        return None, []
    counts = np.rint(steps / step)
    whole = np.abs(steps - counts * step).max() <= MULTIPLE_TOL * step
    if whole and counts.min() >= 1 and not _has_second_spacing(counts):
        caveat = _fill_gaps(slices, counts, where)
    elif steps.max() / steps.min() > MAX_SPACING_RATIO:
        raise SeriesError(
            f'{where}: slices lie from {_pair(slices, steps.argmin())} '
            f'{steps.min():.2f} mm to {_pair(slices, steps.argmax())} '
            f'{steps.max():.2f} mm apart; remove what does not belong, or '
            'export one spacing.'
        )
    else:
        caveat = (
            f'slice spacing varies from {steps.min():.2f} mm '
            f'({_pair(slices, steps.argmin())}) to {steps.max():.2f} mm '
            f'({_pair(slices, steps.argmax())}); resampled evenly'
        )
        step = float(steps.min())
    count = round((along[-1] - along[0]) / step) + 1
    even = np.linspace(along[0], along[-1], count)
    return np.interp(even, along, np.arange(len(along))), [caveat]


def _has_second_spacing(counts: np.ndarray) -> bool:
    """Whether equal wide steps follow each other, unlike gaps."""
    return any(
        count > 1 and len(list(run)) >= SPACING_RUN
        for count, run in groupby(counts)
    )


def _pair(slices: list[SliceHeader], at: np.integer) -> str:
    return f'{slices[at].name} and {slices[at + 1].name}'


def _fill_gaps(
    slices: list[SliceHeader], counts: np.ndarray, where: str
) -> str:
    """A caveat that names the slices to interpolate.

    Args:
        slices: In order.
        counts: Steps between neighbours; 1 where none is missing.
        where: For messages.

    Raises:
        SeriesError: Too many are missing.
    """
    missing = (counts - 1).astype(int)
    total, widest = int(missing.sum()), missing.argmax()
    if missing[widest] > MAX_GAP_SLICES or total > MAX_GAP_FRACTION * (
        len(slices) + total
    ):
        low, high = slices[widest].height, slices[widest + 1].height
        raise SeriesError(
            f'{where}: {counted(total, "slice")} missing, {missing[widest]} '
            f'between {low:.1f} and {high:.1f} mm along the normal '
            f'({_pair(slices, widest)}); copy the whole series.'
        )
    gaps = ', '.join(
        f'{slices[k].height:.1f} and {slices[k + 1].height:.1f} mm '
        f'({_pair(slices, k)})'
        for k in np.flatnonzero(missing)
    )
    were = 'was' if total == 1 else 'were'
    return (
        f'{counted(total, "missing slice")} {were} interpolated between {gaps}'
    )
