"""Detections of a case in its voxels, and what they are in world mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import Detection, Dropped, SeriesResult

ARRAYS = (
    'bboxes',
    'scores',
    'rpn_scores',
    'rcnn_scores',
    'mask_boxes',
    'masks',
)


@dataclass(frozen=True)
class CasePredictions:
    """The output of a detector for one case.

    Attributes:
        bboxes: Edge boxes (K, 6) in voxels.
        scores: (K,) probabilities.
        rpn_scores: (K,), NaN where unknown; None without an RPN.
        rcnn_scores: The same of the RoI head.
        mask_boxes: Integer edge boxes (K, 6) of the masks.
        masks: A boolean array of each box's shape, or None, for each of K.
        lung_margin: Voxels; boxes farther outside the lungs were dropped, None
            where all were kept.
        outside_lungs: How many were dropped, before NMS.
        windows: How many of the case were computed, and how many it has; None
            where that is not known.
    """

    bboxes: np.ndarray
    scores: np.ndarray
    rpn_scores: np.ndarray | None = None
    rcnn_scores: np.ndarray | None = None
    mask_boxes: np.ndarray | None = None
    masks: Sequence[np.ndarray | None] | None = None
    lung_margin: float | None = None
    outside_lungs: int = 0
    windows: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        for name in ARRAYS:
            values = getattr(self, name)
            if values is not None and len(values) != count:
                raise ValueError(
                    f'{name}: {len(values)} values of {count} detections'
                )
        if (self.masks is None) != (self.mask_boxes is None):
            raise ValueError('masks and mask_boxes: give both, or neither')

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> CasePredictions:
        """From arrays or CPU tensors by the names of the attributes.

        Args:
            values: Has ``bboxes`` and ``scores``, and may have the others.

        Raises:
            KeyError: One of the two is missing.
            ValueError: Arrays of different lengths.
        """
        masks = values.get('masks')
        return cls(
            np.asarray(values['bboxes'], np.float64).reshape(-1, 6),
            np.asarray(values['scores'], np.float64),
            _array(values.get('rpn_scores'), np.float64),
            _array(values.get('rcnn_scores'), np.float64),
            _array(values.get('mask_boxes'), np.int64),
            None if masks is None else [_array(m, np.bool_) for m in masks],
            values.get('lung_margin'),
            values.get('outside_lungs', 0),
            values.get('windows'),
        )

    def to_result(
        self,
        series_uid: str,
        geometry: Geometry,
        *,
        source_geometry: Geometry | None = None,
    ) -> SeriesResult:
        """Detections in world mm, best first.

        Args:
            series_uid: Identifier of the scan.
            geometry: Grid of the boxes.
            source_geometry: Grid of the scan as its file states it, if
                another.
        """
        centers = geometry.box_center_world(self.bboxes)
        sizes = (self.bboxes[:, 3:] - self.bboxes[:, :3]) * geometry.spacing
        voxel_mm3 = float(np.prod(geometry.spacing))
        detections = []
        for k in np.argsort(-self.scores, kind='stable'):
            x, y, z = centers[k].tolist()
            dz, dy, dx = sizes[k].tolist()
            mask = None if self.masks is None else self.masks[k]
            detections.append(
                Detection(
                    center_mm=(x, y, z),
                    score=float(self.scores[k]),
                    rpn_score=_known(self.rpn_scores, k),
                    rcnn_score=_known(self.rcnn_scores, k),
                    size_mm=(dz, dy, dx),
                    mask_box=self._mask_box(k),
                    mask=mask,
                    volume_mm3=(
                        None if mask is None else voxel_mm3 * int(mask.sum())
                    ),
                )
            )
        dropped: tuple[Dropped, ...] = ()
        if self.lung_margin is not None:
            margin_mm = round(self.lung_margin * float(geometry.spacing[0]), 6)
            dropped = (Dropped('lungs', margin_mm, self.outside_lungs),)
        return SeriesResult(
            series_uid,
            detections,
            geometry,
            source_geometry,
            dropped=dropped,
        )

    def _mask_box(self, k: int) -> tuple[int, int, int, int, int, int] | None:
        if self.masks is None or self.mask_boxes is None:
            return None
        if self.masks[k] is None:
            return None
        z1, y1, x1, z2, y2, x2 = self.mask_boxes[k].tolist()
        return z1, y1, x1, z2, y2, x2


def _array(values: Any, dtype: type[np.generic]) -> Any:
    return None if values is None else np.asarray(values, dtype)


def _known(scores: np.ndarray | None, k: int) -> float | None:
    if scores is None or np.isnan(scores[k]):
        return None
    return float(scores[k])
