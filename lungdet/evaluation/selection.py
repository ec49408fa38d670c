"""Selection of the detections that a user gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.structures import Detection, Dropped, SeriesResult

LUNG_MARGIN_MM = 8.0
MERGE_MM = 4.0
SCORE_THR = 0.2
REASONS = {
    'score': 'with a score below {:g}',
    'lungs': 'more than {:g} mm outside the lungs',
    'merge': 'within the radius of a better one, or {:g} mm',
}


@dataclass(frozen=True)
class Selection:
    """Rules that drop detections; None turns a rule off.

    Attributes:
        score_thr: Detections below this score are dropped.
        lung_margin_mm: Those whose centre is farther outside the lungs are
            dropped.
        merge_mm: Those whose centre is closer to that of a better detection
            than this or either one's radius are dropped.
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

    def apply(
        self, result: SeriesResult, lungs: np.ndarray | None
    ) -> SeriesResult:
        """The result without dropped detections, and their numbers.

        Args:
            result: Detections, best first.
            lungs: (z, y, x) on ``result.geometry``, above 0 in the lungs;
                None keeps detections anywhere.
        """
        kept = result.detections
        dropped = []
        for rule, limit in self._rules(lungs):
            before = len(kept)
            if rule == 'score':
                kept = [d for d in kept if d.score >= limit]
            elif rule == 'lungs' and lungs is not None:
                grid = result.geometry
                kept = [
                    d
                    for d in kept
                    if is_near_mask(d.center_mm, lungs, grid, limit)
                ]
            else:
                kept = merge(kept, limit)
            dropped.append(Dropped(rule, limit, before - len(kept)))
        return replace(
            result,
            detections=kept,
            dropped=tuple(dropped),
            caveats=[*result.caveats, *_caveats(dropped)],
        )

    def _rules(self, lungs: np.ndarray | None) -> Iterator[tuple[str, float]]:
        """Name and limit of each rule that is on, in their order."""
        if self.score_thr is not None:
            yield 'score', self.score_thr
        if self.lung_margin_mm is not None and lungs is not None:
            yield 'lungs', self.lung_margin_mm
        if self.merge_mm is not None:
            yield 'merge', self.merge_mm


def _caveats(dropped: Sequence[Dropped]) -> list[str]:
    """One line with the numbers of dropped detections and the reasons."""
    reasons = [
        f'{rule.count} {REASONS[rule.rule].format(rule.limit)}'
        for rule in dropped
        if rule.count
    ]
    if not reasons:
        return []
    total = sum(rule.count for rule in dropped)
    return [f'{total} detections were dropped: {", ".join(reasons)}']


def is_near_mask(
    center_mm: tuple[float, float, float],
    mask: np.ndarray,
    geometry: Geometry,
    margin_mm: float,
) -> bool:
    """Whether a point is within a margin of a mask's voxels.

    Args:
        center_mm: World x, y, z.
        mask: (z, y, x), above 0 inside.
        geometry: Grid of the mask.
        margin_mm: Distance to the nearest voxel's centre; a point in a voxel
            of the mask is always near.
    """
    index = geometry.to_index(np.array([center_mm]))[0]
    nearest = np.floor(index + 0.5).astype(int)
    shape = np.array(mask.shape)
    if ((nearest >= 0) & (nearest < shape)).all() and mask[tuple(nearest)]:
        return True
    reach = np.ceil(margin_mm / geometry.spacing)
    low = np.clip(np.floor(index - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(index + reach) + 1, low, shape).astype(int)
    part = mask[tuple(slice(a, b) for a, b in zip(low, high))]
    offsets = (np.argwhere(part) + low - index) * geometry.spacing
    return bool(((offsets**2).sum(1) <= margin_mm**2).any())


def merge(detections: list[Detection], merge_mm: float) -> list[Detection]:
    """The best of the detections of each nodule.

    Two are of one nodule if their centres are closer than the larger of both
    radii and ``merge_mm``.

    Args:
        detections: Best first.
        merge_mm: Smallest distance.

    Examples:
        >>> near = [Detection((0, 0, z), 0.9 - z / 10) for z in (0, 3, 5)]
        >>> [d.center_mm[2] for d in merge(near, 4.0)]
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
