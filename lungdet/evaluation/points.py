"""Nodules and marks as arrays: centres and one value each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lungdet.structures import Annotation, Detection

# centres (n, 3), order (x, y, z), mm, and their diameters or scores (n,)
Points = tuple[np.ndarray, np.ndarray]
PointsByScan = Mapping[str, Points]


def annotation_points(annotations: Sequence[Annotation]) -> Points:
    """Centres (n, 3) mm and diameters (n,) mm, NaN where unknown.

    Examples:
        >>> centers, diameters = annotation_points(
        ...     [Annotation((1, 2, 3), 6.5), Annotation((4, 5, 6), None)]
        ... )
        >>> centers.shape, diameters.tolist()
        ((2, 3), [6.5, nan])
    """
    diameters = [
        np.nan if a.diameter_mm is None else a.diameter_mm for a in annotations
    ]
    return _centers(a.center_mm for a in annotations), np.array(
        diameters, dtype=np.float64
    )


def annotations_by_scan(
    table: Mapping[str, Sequence[Annotation]],
) -> dict[str, Points]:
    """``annotation_points`` of every scan of a table."""
    return {uid: annotation_points(rows) for uid, rows in table.items()}


def detection_points(
    detections: Sequence[Detection], score: str = 'score'
) -> Points:
    """Centres (n, 3) mm and scores (n,) of detections with that score.

    Args:
        detections: In any order, which is kept.
        score: Name of the score: ``'score'``, ``'rpn_score'`` or
            ``'rcnn_score'``.

    Examples:
        >>> detection_points([Detection((1, 2, 3), 0.9)])[1].tolist()
        [0.9]
        >>> detection_points([Detection((1, 2, 3), 0.9)], 'rpn_score')[0].shape
        (0, 3)
    """
    scored = [d for d in detections if getattr(d, score) is not None]
    return _centers(d.center_mm for d in scored), np.array(
        [getattr(d, score) for d in scored], dtype=np.float64
    )


def _centers(points: Iterable[tuple[float, float, float]]) -> np.ndarray:
    return np.array(list(points), dtype=np.float64).reshape(-1, 3)
