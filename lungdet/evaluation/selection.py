"""Selection of the detections that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungdet.errors import ConfigError
from lungdet.structures import Detection, Dropped, SeriesResult

LUNG_MARGIN_MM = 8.0
MERGE_MM = 4.0
SCORE_THR = 0.2
REASONS = {
    'score': 'with a score below {:.3g}',
    'lungs': 'more than {:g} mm outside the lungs (before NMS)',
    'merge': 'within the radius of a better one, or {:g} mm',
}


@dataclass(frozen=True)
class Selection:
    """Rules that drop detections; None turns a rule off.

    Attributes:
        score_thr: Detections below this score are dropped.
        lung_margin_mm: Detections whose centre is farther outside the lungs
            are dropped.
        merge_mm: Detections whose centre is closer than this, or than either
            radius, to that of a better one are dropped.
    """

    score_thr: float | None = SCORE_THR
    lung_margin_mm: float | None = LUNG_MARGIN_MM
    merge_mm: float | None = MERGE_MM

    def __post_init__(self) -> None:
        if self.score_thr is not None and not 0 <= self.score_thr <= 1:
            raise ConfigError(
                f'score threshold: {self.score_thr}; give a probability, 0 '
                'to 1.'
            )
        for name, value in (
            ('lung_margin_mm', self.lung_margin_mm),
            ('merge_mm', self.merge_mm),
        ):
            if value is not None and not 0 <= value < np.inf:
                raise ConfigError(f'{name}: {value}; give mm, 0 or more.')

    def apply(self, result: SeriesResult) -> SeriesResult:
        """The result without dropped detections, and the numbers of all rules.

        The lung rule acts in the network, before its NMS and its cap on a
        scan's detections; its count is already in ``result.dropped``.

        Args:
            result: Detections, best first.
        """
        kept = result.detections
        dropped = [*result.dropped]
        if self.score_thr is not None:
            before = len(kept)
            kept = [d for d in kept if d.score >= self.score_thr]
            dropped.append(
                Dropped('score', self.score_thr, before - len(kept))
            )
        if self.merge_mm is not None:
            before = len(kept)
            kept = merge_by_distance(kept, self.merge_mm)
            dropped.append(Dropped('merge', self.merge_mm, before - len(kept)))
        return replace(
            result,
            detections=kept,
            dropped=tuple(dropped),
            caveats=[*result.caveats, *_caveats(dropped)],
        )


def _caveats(dropped: Sequence[Dropped]) -> list[str]:
    """One line with the numbers of dropped detections and the reasons."""
    reasons = [
        f'{rule.count} {REASONS[rule.rule].format(rule.limit)}'
        for rule in dropped
        if rule.count
    ]
    if not reasons:
        return []
    return [f'detections were dropped: {", ".join(reasons)}']


def merge_by_distance(
    detections: list[Detection], merge_mm: float
) -> list[Detection]:
    """The best of the detections of each nodule.

    Two belong to one nodule if their centres are closer than the larger radius
    or than ``merge_mm``.

    Args:
        detections: Best first.
        merge_mm: Smallest distance.

    Examples:
        >>> near = [Detection((0, 0, z), 0.9 - z / 10) for z in (0, 3, 5)]
        >>> [d.center_mm[2] for d in merge_by_distance(near, 4.0)]
        [0, 5]
    """
    kept: list[Detection] = []
    for detection in detections:
        if not any(_same_nodule(detection, one, merge_mm) for one in kept):
            kept.append(detection)
    return kept


def _same_nodule(a: Detection, b: Detection, merge_mm: float) -> bool:
    offset = np.subtract(a.center_mm, b.center_mm)
    radii = [(d.diameter_mm or 0.0) / 2 for d in (a, b)]
    return float(np.linalg.norm(offset)) < max(*radii, merge_mm)
