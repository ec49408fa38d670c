"""Average precision of 3D boxes, as in COCO, at IoUs for nodules.

Matching is by IoU, without exclusions or a radius, so this is not CPM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.geometry import box_iou

IOU_THRS = tuple(np.linspace(0.1, 0.5, 9).round(2).tolist())
MAX_BOXES = 100
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision at each IoU.

    Attributes:
        iou_thrs: Lowest IoU of a hit.
        values: Average precision there; None without a nodule.
        scans: Number of listed scans.
        nodules: Number of their boxes.
    """

    iou_thrs: tuple[float, ...]
    values: list[float] | None
    scans: int
    nodules: int

    @property
    def mean(self) -> float | None:
        """Mean over the IoUs, mAP; None without a nodule."""
        return None if self.values is None else float(np.mean(self.values))

    def to_dict(self) -> dict:
        """Plain JSON values."""
        return {**vars(self), 'iou_thrs': list(self.iou_thrs)}


def average_precision(
    truth: Mapping[str, np.ndarray],
    detected: Mapping[str, tuple[np.ndarray, np.ndarray]],
    seriesuids: Sequence[str],
    *,
    iou_thrs: Sequence[float] = IOU_THRS,
    max_boxes: int = MAX_BOXES,
) -> AveragePrecision:
    """Average precision over all listed scans.

    In each scan boxes are taken from high to low score; each hits the
    unmatched nodule with the highest IoU, if that reaches the threshold.
    Precision is made monotonic and averaged over 101 recalls.

    Args:
        truth: Series uid -> edge boxes (n, 6).
        detected: Series uid -> edge boxes (m, 6) and scores (m,).
        seriesuids: The scans; others are left out.
        iou_thrs: Lowest IoUs of a hit.
        max_boxes: Best boxes kept per scan.

    Source: Lin et al. 2014 (COCO); the IoUs 0.1 to 0.5 as in Baumgartner et
        al. 2021 (nnDetection).

    Examples:
        >>> nodule = np.array([[0.0, 0, 0, 4, 4, 4]])
        >>> exact = nodule, np.array([0.9])
        >>> average_precision({'a': nodule}, {'a': exact}, ['a']).mean
        1.0
    """
    nodules = sum(len(truth.get(uid, ())) for uid in seriesuids)
    if not nodules:
        return AveragePrecision(tuple(iou_thrs), None, len(seriesuids), 0)
    scores, hits = [np.zeros(0)], [np.zeros((len(iou_thrs), 0), dtype=bool)]
    for uid in seriesuids:
        boxes, values = detected.get(uid, (np.zeros((0, 6)), np.zeros(0)))
        best = np.argsort(-values, kind='stable')[:max_boxes]
        iou = box_iou(boxes[best], truth.get(uid, np.zeros((0, 6))))
        scores.append(values[best])
        hits.append(np.stack([_hits(iou, thr) for thr in iou_thrs]))
    order = np.argsort(-np.concatenate(scores), kind='stable')
    ranked = np.concatenate(hits, axis=1)[:, order]
    return AveragePrecision(
        tuple(iou_thrs),
        [_precision(row, nodules) for row in ranked],
        len(seriesuids),
        nodules,
    )


def _hits(iou: np.ndarray, iou_thr: float) -> np.ndarray:
    """Which boxes (m,), best first, hit an unmatched nodule."""
    free = np.ones(iou.shape[1], dtype=bool)
    hit = np.zeros(len(iou), dtype=bool)
    for row in np.flatnonzero((iou >= iou_thr).any(1)):
        usable = np.where(free, iou[row], -1.0)
        # of equal IoUs the last, as in COCO's loop
        nodule = len(usable) - 1 - int(usable[::-1].argmax())
        if usable[nodule] >= iou_thr:
            hit[row], free[nodule] = True, False
    return hit


def _precision(hit: np.ndarray, nodules: int) -> float:
    """Area under the monotonic precision of ranked boxes (m,)."""
    tps = np.cumsum(hit)
    precision = tps / np.arange(1, len(hit) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    position = np.searchsorted(tps / nodules, RECALLS)
    return float(np.append(falling, 0.0)[position].mean())
