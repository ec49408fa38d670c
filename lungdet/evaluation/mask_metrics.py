"""Agreement of segmentations with nodules, in three scopes.

``box``: all predicted voxels in a nodule's box, whichever detection they
belong to. ``matched``: masks matched one to one with nodules. ``scan``: all
predicted against all reference voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import box_of_mask, box_slices

# a boolean crop and its integer edge box (6,) in the scan
BoxedMask = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class MaskScore:
    """Agreement of two masks.

    Attributes:
        dice: 1 if both are empty.
        iou: The same.
        surface_mm: Mean distance between the surfaces, both ways; None if
            one is empty.
        surface95_mm: The larger of the two 95th percentiles; None likewise.
    """

    dice: float
    iou: float
    surface_mm: float | None
    surface95_mm: float | None


def dice_iou(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Dice and IoU of two boolean arrays of one shape; 1 if both are empty.

    Raises:
        AnnotationError: Different shapes.

    Examples:
        >>> dice_iou(np.array([True, True, False]), np.array([0, 1, 1], bool))
        (0.5, 0.3333333333333333)
    """
    if pred.shape != truth.shape:
        raise AnnotationError(
            f'masks: shapes {pred.shape} and {truth.shape} differ; both must '
            'lie on one grid. Crop or resample one of them.'
        )
    inter = int(np.logical_and(pred, truth).sum())
    total = int(pred.sum()) + int(truth.sum())
    if total == 0:
        return 1.0, 1.0
    return 2 * inter / total, inter / (total - inter)


def score_mask(
    pred: np.ndarray, truth: np.ndarray, spacing_zyx: np.ndarray
) -> MaskScore:
    """Overlap and surface distance of two boolean arrays of one shape.

    A surface consists of the voxels with a face to the outside; distances are
    between voxel centres.

    Raises:
        AnnotationError: Different shapes.
    """
    from scipy.spatial import cKDTree

    dice, iou = dice_iou(pred, truth)
    both = box_of_mask(pred | truth)
    if both is None or not pred.any() or not truth.any():
        return MaskScore(dice, iou, None, None)
    pred, truth = pred[box_slices(both)], truth[box_slices(both)]
    one, two = (_surface(m) * spacing_zyx for m in (pred, truth))
    there, back = cKDTree(two).query(one)[0], cKDTree(one).query(two)[0]
    return MaskScore(
        dice,
        iou,
        surface_mm=float(np.concatenate([there, back]).mean()),
        surface95_mm=float(
            max(np.percentile(there, 95), np.percentile(back, 95))
        ),
    )


def _surface(mask: np.ndarray) -> np.ndarray:
    """Indices (n, 3) of the voxels with a face to the outside."""
    from scipy.ndimage import binary_erosion

    return np.argwhere(
        mask & ~binary_erosion(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    )


def reference_box_scores(
    labels: np.ndarray,
    boxes: Mapping[int, np.ndarray],
    masks: Sequence[BoxedMask],
    spacing_zyx: np.ndarray,
) -> dict[int, MaskScore]:
    """Scope 'box': each nodule's mask against all predictions in its box.

    Args:
        labels: Nodule ids (z, y, x), 0 outside.
        boxes: Id -> integer edge box (6,) of the nodule.
        masks: The predicted masks.
        spacing_zyx: Spacing of ``labels`` in mm.
    """
    scores = {}
    for number, box in boxes.items():
        region = box_slices(box)
        scores[number] = score_mask(
            paint_region(masks, box), labels[region] == number, spacing_zyx
        )
    return scores


def detection_scores(
    labels: np.ndarray,
    boxes: Mapping[int, np.ndarray],
    masks: Sequence[BoxedMask],
    spacing_zyx: np.ndarray,
) -> dict[int, MaskScore]:
    """Scope 'matched': nodules and masks matched one to one.

    The matching has the largest sum of IoUs; nodules without a partner are
    left out.

    Args:
        labels: Nodule ids (z, y, x), 0 outside.
        boxes: Id -> integer edge box (6,) around the nodule's whole mask.
        masks: The predicted masks.
        spacing_zyx: Spacing of ``labels`` in mm.
    """
    scores = {}
    for number, partner in match_masks(labels, list(boxes), masks).items():
        both = np.stack([boxes[number], masks[partner][1]])
        region = np.concatenate([both[:, :3].min(0), both[:, 3:].max(0)])
        scores[number] = score_mask(
            paint_region([masks[partner]], region),
            labels[box_slices(region)] == number,
            spacing_zyx,
        )
    return scores


def scan_score(
    labels: np.ndarray, masks: Sequence[BoxedMask], spacing_zyx: np.ndarray
) -> MaskScore:
    """Scope 'scan': all predicted against all reference voxels of a scan."""
    whole = np.array([0, 0, 0, *labels.shape])
    return score_mask(paint_region(masks, whole), labels > 0, spacing_zyx)


def match_masks(
    labels: np.ndarray, ids: Sequence[int], masks: Sequence[BoxedMask]
) -> dict[int, int]:
    """Match nodules with masks one to one, for the largest sum of IoUs.

    Args:
        labels: Nodule ids (z, y, x), 0 outside.
        ids: The nodules to match.
        masks: The predicted masks.

    Returns:
        Nodule id -> position of its mask. Pairs that do not overlap are left
        out.
    """
    from scipy.optimize import linear_sum_assignment

    sizes = np.bincount(labels.ravel(), minlength=max(ids, default=0) + 1)
    iou = np.zeros((len(ids), len(masks)))
    for column, (mask, box) in enumerate(masks):
        under = np.bincount(
            labels[box_slices(box)][mask], minlength=len(sizes)
        )
        inter = under[list(ids)]
        iou[:, column] = inter / (sizes[list(ids)] + mask.sum() - inter)
    return {
        ids[row]: int(column)
        for row, column in zip(*linear_sum_assignment(-iou))
        if iou[row, column] > 0
    }


def paint_region(masks: Sequence[BoxedMask], region: np.ndarray) -> np.ndarray:
    """Union of masks, cropped to an integer edge box (6,)."""
    region = np.asarray(region)
    union = np.zeros(region[3:] - region[:3], dtype=bool)
    for mask, box in masks:
        low = np.maximum(box[:3], region[:3])
        high = np.minimum(box[3:], region[3:])
        if (high <= low).any():
            continue
        here = box_slices(np.concatenate([low, high]) - np.tile(region[:3], 2))
        there = box_slices(
            np.concatenate([low, high]) - np.tile(np.asarray(box)[:3], 2)
        )
        union[here] |= mask[there]
    return union
