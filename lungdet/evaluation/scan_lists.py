"""Checks of the scan list: against the tables, and its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lungdet.evaluation.caveats import PATTERN, Caveat
from lungdet.evaluation.points import PointsByScan


def check_scan_list(
    annotations: PointsByScan,
    excluded: PointsByScan,
    seriesuids: Sequence[str],
) -> list[Caveat]:
    """Compare the list of scans with the scans that the tables name.

    Args:
        annotations: Nodules of all scans of the reference tables.
        excluded: Excluded findings of all scans of the reference tables.
        seriesuids: The listed scans.
    """
    caveats = [
        _negative_scans_unlisted(annotations, excluded, seriesuids),
        _scans_in_no_table(annotations, excluded, seriesuids),
    ]
    return [caveat for caveat in caveats if caveat is not None]


def _negative_scans_unlisted(
    annotations: PointsByScan,
    excluded: PointsByScan,
    seriesuids: Sequence[str],
) -> Caveat | None:
    """Caveat if only scans with a nodule are listed."""
    positive = {uid for uid, (_, values) in annotations.items() if len(values)}
    negative = {*annotations, *excluded} - positive
    listed = set(seriesuids)
    if min(len(listed), len(negative)) < PATTERN or not listed <= positive:
        return None
    return Caveat(
        'negative-scans-unlisted',
        len(negative),
        f'each of the {len(listed)} listed scans has a nodule; the '
        f'{len(negative)} scans of the reference tables that have none '
        f'are not listed. Over {len(listed) + len(negative)} scans the '
        'figures would differ',
    )


def _scans_in_no_table(
    annotations: PointsByScan,
    excluded: PointsByScan,
    seriesuids: Sequence[str],
) -> Caveat | None:
    """Caveat about listed scans without a row in tables that list all
    scans."""
    if set(excluded).isdisjoint(seriesuids):
        return None
    unknown = [
        uid
        for uid in seriesuids
        if uid not in annotations and uid not in excluded
    ]
    if not unknown:
        return None
    return Caveat(
        'scans-in-no-table',
        len(unknown),
        f'{len(unknown)} of {len(seriesuids)} listed scans are in no '
        f'reference table (first: {unknown[0]!r}); they count as scans '
        'without nodules. Are their ids those of the tables',
    )


def check_intervals(
    nodules: Sequence[int], groups: Mapping[str, Sequence[int]]
) -> list[Caveat]:
    """Check how many scans are resampled.

    Args:
        nodules: Number of nodules of each listed scan.
        groups: The same of the scans of each stratum.

    Examples:
        >>> (caveat,) = check_intervals([1, 0, 2], {})
        >>> caveat.name, caveat.count
        ('few-scans', 3)
    """
    positive = sum(number > 0 for number in nodules)
    if 0 < positive < PATTERN:
        return [
            Caveat(
                'few-scans',
                len(nodules),
                f'the intervals rest on {len(nodules)} scans, {positive} of '
                f'them with nodules; from fewer than {PATTERN} such scans '
                'they come out too narrow and say little',
            )
        ]
    few = [
        label
        for label, numbers in groups.items()
        if 0 < sum(number > 0 for number in numbers) < PATTERN
    ]
    if not few:
        return []
    return [
        Caveat(
            'few-scans',
            len(few),
            f'the intervals of {len(few)} strata rest on fewer than '
            f'{PATTERN} scans with nodules (first: {few[0]!r}); they come '
            'out too narrow and say little',
        )
    ]
