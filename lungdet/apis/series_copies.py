"""One series that several inputs hold, such as a folder and a zip of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from lungdet.apis.scan_input import ScanInput


def without_copies(
    scans: Iterable[ScanInput],
) -> tuple[list[ScanInput], list[ScanInput]]:
    """The first of each series with a caveat, and its copies elsewhere.

    Where the same slices are not known to lie at each place, they may be parts
    of one series: then the first has a defect.
    """
    series: defaultdict[str | int, list[ScanInput]] = defaultdict(list)
    for number, scan in enumerate(scans):
        series[scan.series_uid or number].append(scan)
    groups = series.values()
    copies = [scan for group in groups for scan in group[1:]]
    return [_first(group) for group in groups], copies


def _first(copies: Sequence[ScanInput]) -> ScanInput:
    first = copies[0]
    if len(copies) == 1:
        return first
    text = f'the series lies at {len(copies)} places among the inputs'
    masks = {scan.lung_mask for scan in copies} - {None}
    if not first.image_uids or len({s.image_uids for s in copies}) > 1:
        defect = f'{text}, not known to have the same slices'
    elif len(masks) > 1:
        defect = f'{text}, with different lung masks'
    else:
        return replace(
            first,
            lung_mask=next(iter(masks), None),
            caveats=(*first.caveats, f'{text}; took the first'),
        )
    remedy = 'give one of them, --list-series shows them'
    return replace(first, defect=f'{first.location}: {defect}; {remedy}.')
