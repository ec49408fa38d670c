"""Agreement of a tested scan's masks, and means over many scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lungdet.evaluation.mask_metrics import (
    BoxedMask,
    MaskScore,
    detection_scores,
    dice_iou,
    paint_region,
    reference_box_scores,
    scan_score,
)
from lungdet.geometry import box_slices, enclosing_box, points_in_spheres
from lungdet.structures import CaseNodule, CaseRecord, Detection, SeriesResult

MEASURES = ('dice', 'iou', 'surface_mm', 'surface95_mm')
ALL_READERS = 4  # of LIDC-IDRI

# scope -> measure -> mean, and number of values
MaskSummary = dict[str, dict[str, tuple[float, int]]]


@dataclass(frozen=True)
class NoduleMasks:
    """How the masks of a scan agree with one nodule's.

    Attributes:
        nodule: Its id in the case.
        num_readers: Readers who marked it, None if unknown.
        detected: Whether a detection hits it.
        dice: Dice of the best detection that hits it; 0 without a mask.
        iou: The same.
        box: In the nodule's box, whichever detection the voxels belong to.
        matched: Dice of the mask matched with it one to one; None if there is
            none.
    """

    nodule: int
    num_readers: int | None
    detected: bool
    dice: float
    iou: float
    box: MaskScore
    matched: MaskScore | None


@dataclass(frozen=True)
class ScanMasks:
    """How the masks of a scan agree with its reference.

    Attributes:
        nodules: One entry for each nodule with a mask.
        scan: All voxels of the scan; None if a nodule has no mask.
    """

    nodules: tuple[NoduleMasks, ...] = ()
    scan: MaskScore | None = None

    def to_dict(self) -> dict:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> ScanMasks:
        """The inverse of ``to_dict``."""
        return cls(
            tuple(
                NoduleMasks(
                    **{
                        **nodule,
                        'box': MaskScore(**nodule['box']),
                        'matched': _score_or_none(nodule['matched']),
                    }
                )
                for nodule in values['nodules']
            ),
            _score_or_none(values['scan']),
        )


def score_scan_masks(
    record: CaseRecord, result: SeriesResult, labels: np.ndarray | None
) -> ScanMasks:
    """Compare the masks of a scan's detections with the reference.

    Args:
        record: The prepared case.
        result: Detections on the case's grid.
        labels: Nodule ids (z, y, x) of the case; None if it has no masks.
    """
    outlined = [nodule for nodule in record.nodules if nodule.has_mask]
    if labels is None or not outlined:
        return ScanMasks()
    masks = [
        (detection.mask, np.array(detection.mask_box))
        for detection in result.detections
        if detection.mask is not None
    ]
    spacing = record.geometry.spacing
    boxes = {n.id: _whole_box(n.box, labels.shape) for n in outlined}
    tight = {n.id: _whole_box(n.mask_box, labels.shape) for n in outlined}
    in_boxes = reference_box_scores(labels, boxes, masks, spacing)
    matched = detection_scores(labels, tight, masks, spacing)
    nodules = []
    for nodule in outlined:
        hits = _hits(nodule, result.detections)
        dice, iou = _best_overlap(labels, nodule.id, tight[nodule.id], hits)
        nodules.append(
            NoduleMasks(
                nodule=nodule.id,
                num_readers=nodule.num_readers,
                detected=bool(hits),
                dice=dice,
                iou=iou,
                box=in_boxes[nodule.id],
                matched=matched.get(nodule.id),
            )
        )
    complete = len(outlined) == len(record.nodules)
    whole = scan_score(labels, masks, spacing) if complete else None
    return ScanMasks(tuple(nodules), whole)


def summarise_masks(scans: Iterable[ScanMasks]) -> MaskSummary:
    """Mean of every measure in every scope, and its number of values.

    ``'detected'``, ``'all'`` and ``'four_readers'`` take the best detection
    that hits a nodule; ``'box'``, ``'matched'`` and ``'scan'`` are the three
    scopes of ``mask_metrics``.

    Examples:
        >>> exact = MaskScore(1.0, 1.0, None, None)
        >>> nodule = NoduleMasks(1, 4, True, 0.8, 0.7, exact, None)
        >>> summary = summarise_masks([ScanMasks((nodule,))])
        >>> summary['all'], summary['box']['dice']
        ({'dice': (0.8, 1), 'iou': (0.7, 1)}, (1.0, 1))
    """
    scans = list(scans)
    nodules = [nodule for scan in scans for nodule in scan.nodules]
    detected = [nodule for nodule in nodules if nodule.detected]
    scopes: dict[str, Sequence[Any]] = {
        'detected': detected,
        'all': nodules,
        'four_readers': [n for n in detected if n.num_readers == ALL_READERS],
        'box': [n.box for n in nodules],
        'matched': [n.matched for n in nodules if n.matched],
        'scan': [scan.scan for scan in scans if scan.scan],
    }
    return {
        scope: {
            measure: (float(np.mean(values)), len(values))
            for measure in MEASURES
            for values in [_known(scores, measure)]
            if values
        }
        for scope, scores in scopes.items()
        if scores
    }


def _known(scores: Sequence[Any], measure: str) -> list[float]:
    # the best hit has no distances, see ``NoduleMasks``
    values = (vars(score).get(measure) for score in scores)
    return [value for value in values if value is not None]


def _score_or_none(values: dict | None) -> MaskScore | None:
    return None if values is None else MaskScore(**values)


def _whole_box(box: Sequence[float] | None, shape: tuple) -> np.ndarray:
    """Smallest integer edge box (6,) around a box, inside the case."""
    assert box is not None
    low = np.clip(np.floor(box[:3]), 0, shape)
    high = np.clip(np.ceil(box[3:]), 0, shape)
    return np.concatenate([low, high]).astype(int)


def _hits(
    nodule: CaseNodule, detections: Sequence[Detection]
) -> list[Detection]:
    """Detections inside a nodule's radius, in the given order."""
    (inside,) = points_in_spheres(
        np.array([nodule.center_mm]),
        np.array([nodule.diameter_mm]),
        np.array([d.center_mm for d in detections]),
    )
    return [d for d, hit in zip(detections, inside) if hit]


def _best_overlap(
    labels: np.ndarray, number: int, box: np.ndarray, hits: list[Detection]
) -> tuple[float, float]:
    """Dice and IoU of the best hit's mask; 0 without one."""
    if not hits or hits[0].mask is None:
        return 0.0, 0.0
    mask: BoxedMask = (hits[0].mask, np.array(hits[0].mask_box))
    region = enclosing_box(np.stack([box, mask[1]]))
    return dice_iou(
        paint_region([mask], region), labels[box_slices(region)] == number
    )
