"""Caveats about FROC figures: each with a name and a count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import AnnotationError, counted
from lungdet.evaluation.curve import FROCCurve, steps_at
from lungdet.evaluation.matching import MatchOutcome, ScanMatch
from lungdet.evaluation.points import PointsByScan

PATTERN = 10  # scans or marks from which a pattern is not chance
FAR_MM = 200.0  # no lung reaches that far beyond a scan's annotations


@dataclass(frozen=True)
class Caveat:
    """Something that anyone who uses the figures must know.

    Attributes:
        name: Stable, for programs to use.
        count: How many marks, scans or rates it concerns.
        text: For people to read.
    """

    name: str
    count: int
    text: str

    def __str__(self) -> str:
        return f'{self.name}: {self.text}'


def check_marks(
    listed: PointsByScan,
    submitted: PointsByScan,
    nodules: PointsByScan,
    excluded: PointsByScan,
) -> list[Caveat]:
    """Check a submission before matching.

    Args:
        listed: Marks of every listed scan, empty arrays where there is none.
        submitted: The whole submission, including unlisted scans.
        nodules: Nodules of the listed scans.
        excluded: Excluded findings of the listed scans.

    Raises:
        AnnotationError: There are marks, but none on a listed scan.

    Examples:
        >>> nothing = {'a': (np.zeros((0, 3)), np.zeros(0))}
        >>> (caveat,) = check_marks(nothing, nothing, nothing, nothing)
        >>> print(caveat)
        no-marks: the submission has no mark
    """
    caveats = [_unlisted_marks(submitted, listed), _repeated_nodules(nodules)]
    unmarked = [uid for uid, (_, scores) in listed.items() if not len(scores)]
    if len(unmarked) == len(listed):
        caveats.append(
            Caveat('no-marks', len(unmarked), 'the submission has no mark')
        )
    else:
        caveats += [
            _scans_without_marks(unmarked, len(listed)),
            _negative_scans_unmarked(unmarked, nodules),
            _repeated_marks(listed),
            _voxel_coordinates(listed, nodules, excluded),
            _displaced_scans(listed, nodules, excluded),
            _scores_outside_0_1(listed),
        ]
    return _without_none(caveats)


def check_curve(
    matches: Mapping[str, ScanMatch],
    curve: FROCCurve,
    rates: Sequence[float],
    max_marks: int | None,
) -> list[Caveat]:
    """Check what a submission's marks hit and where its curve ends."""
    caveats = [_cap_ties(matches, max_marks), _no_mark_on_a_finding(matches)]
    if not curve.nodules:
        caveats.append(
            Caveat('no-nodules', 0, 'no nodule; sensitivities are undefined')
        )
    else:
        has_marks = any(len(match.scores) for match in matches.values())
        caveats += [
            _short_curve(curve, rates) if has_marks else None,
            _step_at_rate(curve, rates),
        ]
    return _without_none(caveats)


def _without_none(caveats: Iterable[Caveat | None]) -> list[Caveat]:
    return [caveat for caveat in caveats if caveat is not None]


def _unlisted_marks(
    submitted: PointsByScan, listed: PointsByScan
) -> Caveat | None:
    counts = {uid: len(scores) for uid, (_, scores) in submitted.items()}
    unlisted = {u: n for u, n in counts.items() if n and u not in listed}
    if not unlisted:
        return None
    first = next(iter(unlisted))
    if not any(n for uid, n in counts.items() if uid in listed):
        raise AnnotationError(
            f'marks: none of {len(unlisted)} scans is in the scan list '
            f'(first: {first!r}); ids are compared as text. Check the ids '
            'and the list.'
        )
    total = sum(unlisted.values())
    return Caveat(
        'unlisted-marks',
        total,
        f'left out {counted(total, "mark")} of '
        f'{counted(len(unlisted), "scan")} not in the list (first: '
        f'{first!r})',
    )


def _repeated_nodules(nodules: PointsByScan) -> Caveat | None:
    count = _repeated_rows(nodules)
    if not count:
        return None
    return Caveat(
        'repeated-nodules',
        count,
        f'{counted(count, "row")} repeating another one; each counts once '
        'more among the nodules',
    )


def _repeated_marks(listed: PointsByScan) -> Caveat | None:
    count = _repeated_rows(listed)
    if not count:
        return None
    return Caveat(
        'repeated-marks',
        count,
        f'{counted(count, "row")} repeating another one; beside a nodule '
        'each counts as a false positive',
    )


def _repeated_rows(table: PointsByScan) -> int:
    """Rows that repeat the centre and value of an earlier row."""
    repeated = 0
    for centers, values in table.values():
        rows = np.column_stack([centers, values])
        repeated += len(rows) - len(set(map(tuple, rows.tolist())))
    return repeated


def _scans_without_marks(
    unmarked: Sequence[str], num_listed: int
) -> Caveat | None:
    if not unmarked:
        return None
    return Caveat(
        'scans-without-marks',
        len(unmarked),
        f'{len(unmarked)} of {num_listed} listed scans have no mark '
        f'(first: {unmarked[0]!r}); they count as scans without false '
        'positives',
    )


def _negative_scans_unmarked(
    unmarked: Sequence[str], nodules: PointsByScan
) -> Caveat | None:
    """Caveat if no scan without a nodule has a mark."""
    negative = {uid for uid, (_, values) in nodules.items() if not len(values)}
    if len(negative) < PATTERN or not negative <= set(unmarked):
        return None
    return Caveat(
        'negative-scans-unmarked',
        len(negative),
        f'all {len(negative)} listed scans without a nodule have no mark; '
        'their false positives are missing while they count as scans, '
        'which raises every sensitivity',
    )


def _voxel_coordinates(
    listed: PointsByScan, nodules: PointsByScan, excluded: PointsByScan
) -> Caveat | None:
    """Caveat if no coordinate is negative, though the reference has many."""
    marks = np.concatenate([centers for centers, _ in listed.values()])
    if len(marks) < PATTERN or (marks < 0).any():
        return None
    tables = (nodules, excluded)
    known = np.concatenate([c for t in tables for c, _ in t.values()])
    negative = (known < 0).any(1)
    if not len(known) or negative.mean() < 0.5:
        return None
    return Caveat(
        'voxel-coordinates',
        len(marks),
        f'no coordinate of {len(marks)} marks is negative, but '
        f'{negative.mean():.0%} of the reference findings have a negative '
        'one: these look like voxels, not world millimetres',
    )


def _displaced_scans(
    listed: PointsByScan, nodules: PointsByScan, excluded: PointsByScan
) -> Caveat | None:
    """Scans whose marks lie outside the body, such as mirrored ones."""
    displaced = []
    for uid, (centers, _) in listed.items():
        known = np.concatenate([nodules[uid][0], excluded[uid][0]])
        if len(centers) < PATTERN or not len(known):
            continue
        beyond = np.maximum(known.min(0) - centers, centers - known.max(0))
        if np.median(beyond.max(1)) > FAR_MM:
            displaced.append(uid)
    if not displaced:
        return None
    num_nodules = sum(len(nodules[uid][1]) for uid in displaced)
    return Caveat(
        'displaced-scans',
        len(displaced),
        f'on {counted(len(displaced), "scan")} with '
        f'{counted(num_nodules, "nodule")} most marks '
        f'lie over {FAR_MM:g} mm from every reference finding (first: '
        f'{displaced[0]!r}); the direction of a flipped scan may have been '
        'lost',
    )


def _scores_outside_0_1(listed: PointsByScan) -> Caveat | None:
    scores = np.concatenate([scores for _, scores in listed.values()])
    outside = int(((scores < 0) | (scores > 1)).sum())
    if not outside:
        return None
    return Caveat(
        'scores-outside-0-1',
        outside,
        f'{outside} scores are below 0 or above 1 ({scores.min():g} '
        f'to {scores.max():g}); their order is used all the same',
    )


def _cap_ties(
    matches: Mapping[str, ScanMatch], max_marks: int | None
) -> Caveat | None:
    """Caveat if ties with the first dropped mark left fewer marks than
    allowed."""
    short = {
        uid: max_marks - match.candidates
        for uid, match in matches.items()
        if max_marks is not None
        and len(match.scores) > max_marks > match.candidates
    }
    if not short:
        return None
    total = sum(short.values())
    return Caveat(
        'cap-ties',
        total,
        f'the cap of {max_marks} marks dropped {counted(total, "mark")} of '
        f'{counted(len(short), "scan")}, tied with the first one dropped '
        f'(first: '
        f'{next(iter(short))!r}); write scores with more digits',
    )


def _no_mark_on_a_finding(matches: Mapping[str, ScanMatch]) -> Caveat | None:
    outcomes = [match.outcomes for match in matches.values()]
    num_marks = sum(map(len, outcomes))
    on_finding = (MatchOutcome.HIT, MatchOutcome.IGNORED)
    if num_marks < PATTERN or any(
        np.isin(outcome, on_finding).any() for outcome in outcomes
    ):
        return None
    return Caveat(
        'no-mark-on-a-finding',
        num_marks,
        f'none of {num_marks} marks lies on a nodule or on an excluded '
        'finding; check axis order, signs and unit (x, y, z, LPS, mm)',
    )


def _short_curve(curve: FROCCurve, rates: Sequence[float]) -> Caveat | None:
    end = float(curve.whole_fp_per_scan[-1])
    beyond = sum(rate > end for rate in rates)
    if not beyond:
        return None
    return Caveat(
        'short-curve',
        beyond,
        f'the curve ends at {end:.3g} false positives per scan; at {beyond} '
        f'of {len(rates)} rates its last value is read',
    )


def _step_at_rate(curve: FROCCurve, rates: Sequence[float]) -> Caveat | None:
    differ = steps_at(curve, rates)
    if not differ.any():
        return None
    return Caveat(
        'step-at-rate',
        int(differ.sum()),
        f'at {differ.sum()} of {len(rates)} rates a vertical step lies '
        'exactly at the rate; interp may read its bottom, step reads its top',
    )
