"""Marks in a frame other than LPS world mm, recognised by what they hit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.matching import MatchOutcome, ScanMatch
from lungdet.evaluation.points import PointsByScan
from lungdet.geometry import points_in_spheres

# frame -> its columns that are (x, y, z), and their signs
FRAMES: dict[str, tuple[list[int], list[int]]] = {
    'x and y with the other sign (RAS)': ([0, 1, 2], [-1, -1, 1]),
    'x with the other sign': ([0, 1, 2], [-1, 1, 1]),
    'y with the other sign': ([0, 1, 2], [1, -1, 1]),
    'z with the other sign': ([0, 1, 2], [1, 1, -1]),
    'all signs reversed': ([0, 1, 2], [-1, -1, -1]),
    'columns in the order z, y, x': ([2, 1, 0], [1, 1, 1]),
    'columns in the order y, x, z': ([1, 0, 2], [1, 1, 1]),
    'columns in the order x, z, y': ([0, 2, 1], [1, 1, 1]),
    'columns in the order y, z, x': ([2, 0, 1], [1, 1, 1]),
    'columns in the order z, x, y': ([1, 2, 0], [1, 1, 1]),
    'columns in the order z, y, x, and RAS': ([2, 1, 0], [-1, -1, 1]),
}
HARDLY = 0.005  # of the marks on findings; by chance it is 0.01
CHANCE = 0.02  # of the marks on findings in a wrong frame, at least
DOUBT = 5e-4  # probability that a wrong frame fits so well by chance
TIMES = 3  # factor by which it must fit better


def to_lps(centers: np.ndarray, frame: str) -> np.ndarray:
    """Centres (n, 3) in a frame of ``FRAMES``, converted to LPS.

    Examples:
        >>> to_lps(np.array([[3.0, 2, 1]]), 'columns in the order z, y, x')
        array([[1., 2., 3.]])
    """
    columns, signs = FRAMES[frame]
    return centers[:, columns] * np.array(signs)


def check_frame(
    matches: Mapping[str, ScanMatch],
    nodules: PointsByScan,
    excluded: PointsByScan,
    marks: PointsByScan,
) -> list[Caveat]:
    """Look for a frame in which marks would hit far more than as they are.

    Nodules and excluded findings count alike, so that a few scans suffice. A
    mark of a few may hit by chance in a wrong frame, so only the comparison
    counts, not the fraction that hits.

    Args:
        matches: Matches of the listed scans.
        nodules: Their nodules.
        excluded: Their excluded findings.
        marks: Their marks; those that the cap cuts do not count.
    """
    from scipy.special import bdtrc

    kept = {
        uid: marks[uid][0][match.outcomes != MatchOutcome.CUT]
        for uid, match in matches.items()
    }
    total = sum(map(len, kept.values()))
    on_finding = sum(
        np.isin(m.outcomes, (MatchOutcome.HIT, MatchOutcome.IGNORED)).sum()
        for m in matches.values()
    )
    if TIMES * on_finding >= total:  # no frame can fit so much better
        return []
    fitting = {
        frame: _marks_on_findings(frame, kept, nodules, excluded)
        for frame in FRAMES
    }
    frame = max(fitting, key=fitting.__getitem__)
    best, typical = fitting[frame], float(np.median([*fitting.values()]))
    chance = min(max(CHANCE, typical / total), 1.0)
    if best <= TIMES * on_finding or bdtrc(best - 1, total, chance) > DOUBT:
        return _hardly_any(on_finding, total)
    return [
        Caveat(
            'other-frame',
            total,
            f'{on_finding} of {total} marks lie on a nodule or an excluded '
            f'finding as they are, but {best} read as {frame}; '
            'x, y, z in mm, LPS, are needed. Convert them and score again',
        )
    ]


def _hardly_any(on_finding: int, total: int) -> list[Caveat]:
    if not on_finding or on_finding >= HARDLY * total:
        return []
    return [
        Caveat(
            'marks-beside-findings',
            total,
            f'only {on_finding} of {total} marks lie on a nodule or an '
            'excluded finding, as many as by chance, and no other order or '
            'sign of the columns fits better; are these world mm of these '
            'scans',
        )
    ]


def _marks_on_findings(
    frame: str,
    marks: Mapping[str, np.ndarray],
    nodules: PointsByScan,
    excluded: PointsByScan,
) -> int:
    number = 0
    for uid, centers in marks.items():
        points = to_lps(centers, frame)
        hits = np.zeros(len(points), dtype=bool)
        for table in (nodules, excluded):
            hits |= points_in_spheres(*table[uid], points).any(0)
        number += int(hits.sum())
    return number
