"""The slices of one series in order, and their regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.dicom_headers import Slice
from lungdet.io.dicom_pixels import slice_values
from lungdet.io.limits import SLICES, check_grid

DUPLICATE_MM = 0.01  # slices closer than this are at one position
TILT_DEG, MAX_TILT_DEG = 0.5, 30.0
PLANE_TOL_MM = 0.5  # a slice farther off the common line is misplaced
JITTER_MM, JITTER_FRACTION = 0.02, 0.01
MULTIPLE_TOL = 0.1  # of a step: wider steps are whole multiples of it
MAX_GAP_SLICES, MAX_GAP_FRACTION = 2, 0.05
MAX_SPACING_RATIO = 3.0
SPACING_RUN = 3  # this many equal wide steps in a row are not missing slices
HU_TYPES = {'HU', 'US'}  # US: unspecified


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order along their normal, and how they map to a grid.

    Attributes:
        slices: One per position.
        geometry: The regular grid.
        shifts: Voxels (n, 2) along rows and columns by which a tilted gantry
            moved each slice; None for a straight one.
        planes: For each plane of ``geometry`` its index among the slices, to
            interpolate at; None where they are the slices themselves.
        caveats: What was left out or repaired.
    """

    slices: list[Slice]
    geometry: Geometry
    shifts: np.ndarray | None
    planes: np.ndarray | None
    caveats: list[str]


def build_stack(slices: Sequence[Slice], where: str) -> Stack:
    """Order slices, drop copies, and check their positions.

    Args:
        slices: Headers of one series that fit together.
        where: Folder and series, for messages.

    Raises:
        SeriesError: Slices that do not form a volume.
    """
    kept, of_copies = _one_per_position(slices, where)
    of_rescale = _check_rescale(kept, where)
    first = kept[0]
    try:
        # mm along the normal, voxels along rows and columns
        index = first.grid(1.0, 1).to_index([s.position for s in kept])
        shifts, of_tilt = _tilt(kept, index, where)
        planes, of_gaps = _planes(kept, index[:, 0], where)
        count = len(kept if planes is None else planes)
        step = float(index[-1, 0] - index[0, 0]) / (count - 1)
        shape = (count, first.rows, first.columns)
        check_grid(where, shape, (step, *first.spacing), itemsize=2)
        geometry = first.grid(step, count)
    except GeometryError as error:
        raise SeriesError(f'{where}: {error}') from error
    caveats = [*of_copies, *of_rescale, *of_tilt, *of_gaps]
    return Stack(kept, geometry, shifts, planes, caveats)


def _one_per_position(
    slices: Sequence[Slice], where: str
) -> tuple[list[Slice], list[str]]:
    """Slices along the normal, without copies and earlier acquisitions."""
    kept, caveats = _without_copies(slices)
    clash = _clash(kept)
    if clash:
        kept, of_choice = _last_acquisition(kept)
        caveats += of_choice
        clash = _clash(kept)
    if clash:
        one, other = clash
        raise SeriesError(
            f'{where}: {one.name} and {other.name} are two different images '
            f'at one position ({one.height:.1f} mm along the normal); remove '
            'one of them, or export the acquisitions as two series.'
        )
    if len(kept) < SLICES[0]:
        raise SeriesError(
            f'{where}: {len(kept)} slices do not form a volume; check that '
            'the whole series was copied.'
        )
    return kept, caveats


def _without_copies(
    slices: Sequence[Slice],
) -> tuple[list[Slice], list[str]]:
    normal = slices[0].normal
    kept: list[Slice] = []
    copies = []
    for one in sorted(slices, key=lambda s: (s.position @ normal, s.path)):
        near = [s for s in kept[-4:] if _at_one_position(s, one)]
        if any(_is_copy(one, other) for other in near):
            copies.append(one.name)
        else:
            kept.append(one)
    if not copies:
        return kept, []
    return kept, [
        f'{len(copies)} duplicate slices left out: {", ".join(copies)}'
    ]


def _at_one_position(a: Slice, b: Slice) -> bool:
    return abs((a.position - b.position) @ a.normal) <= DUPLICATE_MM


def _is_copy(a: Slice, b: Slice) -> bool:
    if a.uid is not None and a.uid == b.uid:
        return True
    return np.array_equal(slice_values(a), slice_values(b))


def _clash(slices: list[Slice]) -> tuple[Slice, Slice] | None:
    """Two images at one position."""
    for one, other in zip(slices, slices[1:]):
        if _at_one_position(one, other):
            return one, other
    return None


def _last_acquisition(slices: list[Slice]) -> tuple[list[Slice], list[str]]:
    """Slices of the last acquisition if it covers every position, else all."""
    for name in ('acquisition', 'time'):
        labels = {getattr(s, name) for s in slices}
        if len(labels) == 1 or None in labels:
            continue
        last = max(labels)
        kept = [s for s in slices if getattr(s, name) == last]
        normal = kept[0].normal
        heights = np.array([s.position @ normal for s in kept])
        gaps = [np.abs(heights - s.position @ normal).min() for s in slices]
        if max(gaps) <= DUPLICATE_MM:
            return kept, [
                f'{len(labels)} acquisitions at the same positions; took '
                f'{name} {last}, the last'
            ]
    return slices, []


def _check_rescale(slices: list[Slice], where: str) -> list[str]:
    lacking = [s for s in slices if not s.has_rescale]
    if 0 < len(lacking) < len(slices):
        names = ', '.join(s.name for s in lacking)
        raise SeriesError(
            f'{where}: {len(lacking)} slices lack RescaleSlope or Intercept '
            f'({names}); their HU are unknown. Export the series again.'
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
    slices: list[Slice], index: np.ndarray, where: str
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
    slices: list[Slice], along: np.ndarray, where: str
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


def _pair(slices: list[Slice], at: np.integer) -> str:
    return f'{slices[at].name} and {slices[at + 1].name}'


def _fill_gaps(slices: list[Slice], counts: np.ndarray, where: str) -> str:
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
            f'{where}: {total} slices are missing, {missing[widest]} of them '
            f'between {low:.1f} and {high:.1f} mm along the normal '
            f'({_pair(slices, widest)}); copy the whole series.'
        )
    gaps = ', '.join(
        f'{slices[k].height:.1f} and {slices[k + 1].height:.1f} mm '
        f'({_pair(slices, k)})'
        for k in np.flatnonzero(missing)
    )
    return f'{total} missing slices were interpolated between {gaps}'
