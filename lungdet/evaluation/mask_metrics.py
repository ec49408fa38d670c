"""How well a segmentation covers a nodule."""

from __future__ import annotations

import numpy as np

from lungdet.errors import AnnotationError


def dice_iou(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Dice and IoU of two boolean arrays of one shape; 1 if both are empty.

    Raises:
        AnnotationError: Different shapes.
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
