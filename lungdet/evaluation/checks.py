"""What makes a FROC figure other than it looks, told by name and count."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.evaluation.curve import FROCCurve, read_interp, read_step
from lungdet.evaluation.matching import Findings, MatchOutcome, ScanMatch

SUSPECT = 10  # scans or marks from which on a pattern is no chance
FAR_MM = 200.0  # beyond all findings of a scan, no lung reaches that far
MIN_LOST = 3  # characters missing at an id's end
PREFIX = 8  # characters from which on a cut id is recognised


@dataclass(frozen=True)
class Caveat:
    """Something that a reader of the figures must know.

    Attributes:
        name: Stable, for programs.
        count: How many marks, scans or rates it concerns.
        text: For people.
    """

    name: str
    count: int
    text: str

    def __str__(self) -> str:
        return f'{self.name}: {self.text}'


def check_marks(
    listed: Findings, marks: Findings, findings: Sequence[Findings]
) -> list[Caveat]:
    """Judge a submission before it is matched.

    Args:
        listed: Marks of every listed scan, empty arrays where there is none.
        marks: The whole submission.
        findings: Nodules and excluded findings of the listed scans.

    Raises:
        AnnotationError: Marks, but none on a listed scan.
    """
    caveats = _unlisted(marks, listed)
    caveats += _repeated(
        findings[0],
        'repeated-nodules',
        'each counts once more among the nodules',
    )
    silent = [uid for uid, (_, scores) in listed.items() if not len(scores)]
    if len(silent) == len(listed):
        caveats.append(
            Caveat('no-marks', len(silent), 'the submission has no mark')
        )
        return caveats
    if silent:
        caveats.append(
            Caveat(
                'scans-without-marks',
                len(silent),
                f'{len(silent)} of {len(listed)} listed scans have no mark '
                f'(first: {silent[0]!r}); they count as scans without false '
                'positives',
            )
        )
    caveats += _only_positive_scans_marked(silent, findings[0])
    centers = np.concatenate([points for points, _ in listed.values()])
    scores = np.concatenate([scores for _, scores in listed.values()])
    caveats += _repeated(
        listed,
        'repeated-marks',
        'beside a nodule each counts as a false positive',
    )
    caveats += _voxel_coordinates(centers, findings)
    caveats += _displaced(listed, findings)
    outside = int(((scores < 0) | (scores > 1)).sum())
    if outside:
        caveats.append(
            Caveat(
                'scores-outside-0-1',
                outside,
                f'{outside} scores are below 0 or above 1 ({scores.min():g} '
                f'to {scores.max():g}); their order is used all the same',
            )
        )
    return caveats


def _unlisted(marks: Findings, listed: Findings) -> list[Caveat]:
    """Tell of marks outside the scan list; refuse if all of them are."""
    counts = {uid: len(values) for uid, (_, values) in marks.items()}
    unlisted = {u: n for u, n in counts.items() if n and u not in listed}
    if not unlisted:
        return []
    first = next(iter(unlisted))
    if not any(n for uid, n in counts.items() if uid in listed):
        raise AnnotationError(
            f'marks: none of {len(unlisted)} scans is in the scan list '
            f'(first: {first!r}); ids are compared as text. Check the ids '
            'and the list.'
        )
    total = sum(unlisted.values())
    return [
        Caveat(
            'unlisted-marks',
            total,
            f'{total} marks of {len(unlisted)} scans that are not listed '
            f'were left out (first: {first!r})',
        )
    ]


def _only_positive_scans_marked(
    silent: Sequence[str], nodules: Findings
) -> list[Caveat]:
    """Marks of the scans with nodules over the denominator of all."""
    without = {uid for uid, (_, values) in nodules.items() if not len(values)}
    if len(without) < SUSPECT or not without <= set(silent):
        return []
    return [
        Caveat(
            'negative-scans-unmarked',
            len(without),
            f'all {len(without)} listed scans without a nodule have no mark; '
            'their false positives are missing while they count as scans, '
            'which raises every sensitivity',
        )
    ]


def _repeated(listed: Findings, name: str, consequence: str) -> list[Caveat]:
    """Rows of equal place and value."""
    repeated = 0
    for centers, values in listed.values():
        rows = np.column_stack([centers, values])
        repeated += len(rows) - len(set(map(tuple, rows.tolist())))
    if not repeated:
        return []
    text = f'{repeated} rows repeat another one; {consequence}'
    return [Caveat(name, repeated, text)]


def _voxel_coordinates(
    centers: np.ndarray, findings: Sequence[Findings]
) -> list[Caveat]:
    if len(centers) < SUSPECT or (centers < 0).any():
        return []
    known = np.concatenate([c for t in findings for c, _ in t.values()])
    negative = (known < 0).any(1)
    if not len(known) or negative.mean() < 0.5:
        return []
    return [
        Caveat(
            'voxel-coordinates',
            len(centers),
            f'no coordinate of {len(centers)} marks is negative, but '
            f'{negative.mean():.0%} of the reference findings have a negative '
            'one: these look like voxels, not world millimetres',
        )
    ]


def _displaced(listed: Findings, findings: Sequence[Findings]) -> list[Caveat]:
    """Scans whose marks lie outside the body, such as mirrored ones."""
    displaced = []
    for uid, (centers, _) in listed.items():
        known = np.concatenate([table[uid][0] for table in findings])
        if len(centers) < SUSPECT or not len(known):
            continue
        beyond = np.maximum(known.min(0) - centers, centers - known.max(0))
        if np.median(beyond.max(1)) > FAR_MM:
            displaced.append(uid)
    if not displaced:
        return []
    nodules = sum(len(findings[0][uid][1]) for uid in displaced)
    return [
        Caveat(
            'displaced-scans',
            len(displaced),
            f'on {len(displaced)} scans with {nodules} nodules most marks '
            f'lie over {FAR_MM:g} mm from every reference finding (first: '
            f'{displaced[0]!r}); was the direction of a flipped scan lost',
        )
    ]


def check_scan_list(
    annotations: Findings, excluded: Findings, seriesuids: Sequence[str]
) -> list[Caveat]:
    """Tell where the scans without a nodule were left out of the list."""
    positive = {uid for uid, (_, values) in annotations.items() if len(values)}
    negative = {*annotations, *excluded} - positive
    listed = set(seriesuids)
    if (
        len(listed) < SUSPECT
        or len(negative) < SUSPECT
        or not listed <= positive
    ):
        return []
    return [
        Caveat(
            'negative-scans-unlisted',
            len(negative),
            f'each of the {len(listed)} listed scans has a nodule; the '
            f'{len(negative)} scans of the reference tables that have none '
            f'are not listed. Over {len(listed) + len(negative)} scans the '
            'figures are others',
        )
    ]


def check_curve(
    matches: Mapping[str, ScanMatch],
    curve: FROCCurve,
    rates: Sequence[float],
    max_marks: int | None,
) -> list[Caveat]:
    """Tell what the figures of a matched submission rest on."""
    caveats = _cap_ties(matches, max_marks)
    outcomes = [match.outcomes for match in matches.values()]
    marks = sum(len(f) for f in outcomes)
    if marks >= SUSPECT and not any(
        ((f == MatchOutcome.HIT) | (f == MatchOutcome.IGNORED)).any()
        for f in outcomes
    ):
        caveats.append(
            Caveat(
                'no-mark-on-a-finding',
                marks,
                f'none of {marks} marks lies on a nodule or on an excluded '
                'finding; check axis order, signs and unit (x, y, z, LPS, mm)',
            )
        )
    if not curve.nodules:
        caveats.append(
            Caveat('no-nodules', 0, 'no nodule; sensitivities are undefined')
        )
        return caveats
    end = float(curve.whole_fp_per_scan[-1])
    beyond = sum(rate > end for rate in rates)
    if beyond and marks:
        caveats.append(
            Caveat(
                'short-curve',
                beyond,
                f'the curve ends at {end:.3g} false '
                f'positives per scan; at {beyond} of {len(rates)} rates its '
                'last value is read',
            )
        )
    differ = read_interp(curve, rates) != read_step(curve, rates)
    if differ.any():
        caveats.append(
            Caveat(
                'step-at-rate',
                int(differ.sum()),
                f'at {differ.sum()} of {len(rates)} rates a vertical step '
                'lies exactly at the rate; interp may read its bottom, step '
                'reads its top',
            )
        )
    return caveats


def _cap_ties(
    matches: Mapping[str, ScanMatch], max_marks: int | None
) -> list[Caveat]:
    """Where ties with the first mark cut left fewer than allowed."""
    short = {
        uid: max_marks - match.candidates
        for uid, match in matches.items()
        if max_marks is not None
        and len(match.scores) > max_marks > match.candidates
    }
    if not short:
        return []
    total = sum(short.values())
    return [
        Caveat(
            'cap-ties',
            total,
            f'the cap of {max_marks} marks dropped {total} marks of '
            f'{len(short)} scans that tie with the first one cut (first: '
            f'{next(iter(short))!r}); write scores with more digits',
        )
    ]


def mangled_ids(uids: Iterable[str], listed: Iterable[str]) -> dict[str, str]:
    """Ids that are not listed but are a listed one with digits lost.

    Leading zeros of a number, a ``.0`` that a table program put behind, or
    the end of a long id.

    Returns:
        Found id -> listed id.
    """
    ordered = sorted(set(listed))
    known = set(ordered)
    bare = {_bare(uid): uid for uid in ordered}
    found = {}
    for uid in dict.fromkeys(uids):
        if uid in known:
            continue
        place = bisect_left(ordered, uid)
        if _bare(uid) in bare:
            found[uid] = bare[_bare(uid)]
        elif len(uid) >= PREFIX and place < len(ordered):
            lost = len(ordered[place]) - len(uid)
            # scan 1 beside scan 15 lost nothing
            if ordered[place].startswith(uid) and lost >= MIN_LOST:
                found[uid] = ordered[place]
    return found


def _bare(uid: str) -> str:
    """An id without what table programs add or take."""
    if re.fullmatch(r'\d+\.0+', uid):
        uid = uid.split('.')[0]
    return '.'.join(part.lstrip('0') or '0' for part in uid.split('.'))
