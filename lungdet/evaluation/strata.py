"""Results by groups of nodules or of scans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.evaluation.froc import FROCResult, summarise

SMALL_MM, LARGE_MM = 6, 10
DIAMETER_STRATA = ('< 6 mm', '6-10 mm', '> 10 mm')
MAX_STRATA = 20
UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Grouping:
    """Labels by which a result is split.

    Attributes:
        name: Printed above the table.
        scan_labels: Series uid -> label of the scan; None if nodules are
            grouped.
        nodule_labels: Series uid -> label of each nodule, in the table's
            order; None if scans are grouped.
    """

    name: str
    scan_labels: Mapping[str, str] | None = None
    nodule_labels: Mapping[str, Sequence[str]] | None = None

    def split(self, result: FROCResult) -> dict[str, FROCResult]:
        """Label -> result of the group.

        Raises:
            AnnotationError: As ``strata_by_nodule`` and ``strata_by_scan``.
        """
        if self.nodule_labels is not None:
            return strata_by_nodule(result, self.nodule_labels)
        return strata_by_scan(result, self.scan_labels or {})


def strata_by_nodule(
    result: FROCResult, labels: Mapping[str, Sequence[str]]
) -> dict[str, FROCResult]:
    """One result per label of nodules, over all false positives.

    Marks on other nodules are neither true nor false positives.

    Args:
        result: Result of all nodules.
        labels: Series uid -> label of each nodule, in the table's order; an
            empty one is called ``'unknown'``.

    Raises:
        AnnotationError: A scan with more or fewer labels than nodules, or
            more than 20 labels.

    Examples:
        >>> from lungdet.evaluation import evaluate_froc
        >>> centers = np.array([[0.0, 0, 0], [50, 0, 0]])
        >>> nodules = {'a': (centers, np.array([8.0, 8.0]))}
        >>> marks = {'a': (centers[:1], np.array([0.9]))}
        >>> result = evaluate_froc(nodules, {}, marks, ['a'])
        >>> strata = strata_by_nodule(result, {'a': ['solid', 'ground glass']})
        >>> {label: part.cpm for label, part in strata.items()}
        {'ground glass': 0.0, 'solid': 1.0}
    """
    for uid in result.seriesuids:
        given, needed = len(labels.get(uid, ())), result.matches[uid].nodules
        if given != needed:
            raise AnnotationError(
                f'strata: series {uid} has {needed} nodules and {given} '
                'labels; give one per nodule.'
            )
    listed = {
        uid: np.array([t or UNKNOWN for t in labels.get(uid, ())], dtype=str)
        for uid in result.seriesuids
    }
    return {
        label: _of_matches(
            result,
            {
                uid: match.only(listed[uid] == label)
                for uid, match in result.matches.items()
            },
            result.seriesuids,
        )
        for label in _ordered(str(t) for row in listed.values() for t in row)
    }


def strata_by_scan(
    result: FROCResult, labels: Mapping[str, str]
) -> dict[str, FROCResult]:
    """One result per label of scans, each with its own denominators.

    Args:
        result: Result of all scans.
        labels: Series uid -> label; others are called ``'unknown'``.

    Raises:
        AnnotationError: More than 20 labels.
    """
    known = {uid: labels.get(uid) or UNKNOWN for uid in result.seriesuids}
    return {
        label: _of_matches(
            result,
            result.matches,
            [uid for uid in result.seriesuids if known[uid] == label],
        )
        for label in _ordered(known.values())
    }


def diameter_labels(
    diameters_mm: Mapping[str, np.ndarray],
) -> dict[str, list[str]]:
    """One of ``DIAMETER_STRATA`` for each nodule, or ``'unknown'``.

    Args:
        diameters_mm: Series uid -> diameters (n,); NaN or negative where
            unknown.

    Examples:
        >>> diameter_labels({'a': np.array([5.0, 6.0, 10.5, np.nan])})
        {'a': ['< 6 mm', '6-10 mm', '> 10 mm', 'unknown']}
    """

    def label(diameter: float) -> str:
        if not diameter >= 0:
            return UNKNOWN
        if diameter < SMALL_MM:
            return DIAMETER_STRATA[0]
        return DIAMETER_STRATA[2 if diameter > LARGE_MM else 1]

    return {u: [label(d) for d in v] for u, v in diameters_mm.items()}


def _of_matches(
    result: FROCResult, matches: Mapping, seriesuids: Sequence[str]
) -> FROCResult:
    of_part = summarise(
        matches, seriesuids, rates=result.rates, read_out=result.read_out
    )
    return replace(of_part, max_marks=result.max_marks)


def _ordered(labels: Iterable[str]) -> list[str]:
    """Distinct labels: diameters, then numbers, then text, each in order."""
    distinct = sorted(set(labels), key=_rank)
    if len(distinct) > MAX_STRATA:
        raise AnnotationError(
            f'strata: {len(distinct)} different values, such as '
            f'{distinct[0]!r} and {distinct[1]!r}; group them into at most '
            f'{MAX_STRATA} first.'
        )
    return distinct


def _rank(label: str) -> tuple[bool, float, str]:
    if label in DIAMETER_STRATA:
        return False, DIAMETER_STRATA.index(label), ''
    try:
        return False, float(label), ''
    except ValueError:
        return True, 0.0, label
