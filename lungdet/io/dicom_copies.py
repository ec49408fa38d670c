"""One slice per position: copies and earlier acquisitions are left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.errors import SeriesError, counted
from lungdet.io.dicom_headers import SliceHeader
from lungdet.io.dicom_pixels import slice_values
from lungdet.io.limits import SLICES

DUPLICATE_MM = 0.01  # slices closer than this are at one position


def one_per_position(
    slices: Sequence[SliceHeader], where: str
) -> tuple[list[SliceHeader], list[str]]:
    """Slices along the normal, without copies and earlier acquisitions.

    Args:
        slices: Headers of one series that fit together.
        where: Folder and series, for messages.

    Returns:
        One slice per position, in order, and caveats of what was left out.

    Raises:
        SeriesError: Two images at one position, or too few slices.
    """
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
            f'{where}: {counted(len(kept), "slice")}, fewer than a volume '
            'has; check that the whole series was copied.'
        )
    return kept, caveats


def _without_copies(
    slices: Sequence[SliceHeader],
) -> tuple[list[SliceHeader], list[str]]:
    normal = slices[0].normal
    kept: list[SliceHeader] = []
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
        f'{counted(len(copies), "duplicate slice")} left out: '
        f'{", ".join(copies)}'
    ]


def _at_one_position(a: SliceHeader, b: SliceHeader) -> bool:
    return abs((a.position - b.position) @ a.normal) <= DUPLICATE_MM


def _is_copy(a: SliceHeader, b: SliceHeader) -> bool:
    if a.uid is not None and a.uid == b.uid:
        return True
    return np.array_equal(slice_values(a), slice_values(b))


def _clash(
    slices: list[SliceHeader],
) -> tuple[SliceHeader, SliceHeader] | None:
    """Two images at one position."""
    for one, other in zip(slices, slices[1:]):
        if _at_one_position(one, other):
            return one, other
    return None


def _last_acquisition(
    slices: list[SliceHeader],
) -> tuple[list[SliceHeader], list[str]]:
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
                f'{len(labels)} acquisitions at the same positions; took the '
                f'last, by its {name}'
            ]
    return slices, []
