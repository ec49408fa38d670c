"""Targets and predictions of one crop or case, in voxels."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, InstanceData

__all__ = ['MIN_INSIDE', 'DetDataSample', 'InstanceData']

# voxels: a nodule whose centre is nearer to a face of a crop, or of a window
# in validation, is cut: no target, but an ignored region
MIN_INSIDE = 4.0


class DetDataSample(BaseDataElement):
    """Targets and predictions of one crop or one whole case.

    Boxes are (N, 6) edge boxes (z1, y1, x1, z2, y2, x2) in the voxels of the
    sample's array; N may be 0 and every field then has length 0.

    Data fields:
        gt_instances: InstanceData with ``bboxes`` (N, 6) float32, ``labels``
            (N,) int64 (1 = nodule), ``ids`` (N,) int64 (value of the nodule
            in ``gt_masks``), ``has_mask`` (N,) bool.
        ignored_instances: InstanceData with ``bboxes`` (M, 6): excluded
            findings and nodules cut by the crop.
        gt_masks: (D, H, W) uint8 instance ids, 0 background.
        candidates: InstanceData with ``bboxes`` (K, 6) float64: boxes to be
            scored instead of searching.
        lungs: (D, H, W) bool, of a whole case whose detections are to lie
            within ``lung_margin`` voxels of it.
        pred_instances: InstanceData with ``bboxes`` (K, 6), ``scores``,
            ``rpn_scores``, ``rcnn_scores`` (K,), and where segmented
            ``mask_boxes`` (K, 6) int64 and ``masks`` (list of bool arrays
            of those boxes, or None); its metainfo has ``windows``, how many
            were computed, of how many, and with ``lungs`` ``lung_margin``
            and ``outside_lungs``, how many boxes were dropped.
        losses: Dict of floats, of a validation case with targets.

    Metainfo: ``series_uid``, ``affine`` (4 x 4, of this sample's array),
        ``img_shape`` (D, H, W), ``sample_key`` for errors, ``lung_margin``.
    """

    @property
    def gt_instances(self) -> InstanceData:
        return self._gt_instances

    @gt_instances.setter
    def gt_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_gt_instances', dtype=InstanceData)

    @property
    def ignored_instances(self) -> InstanceData:
        return self._ignored_instances

    @ignored_instances.setter
    def ignored_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_ignored_instances', dtype=InstanceData)

    @property
    def candidates(self) -> InstanceData:
        return self._candidates

    @candidates.setter
    def candidates(self, value: InstanceData) -> None:
        self.set_field(value, '_candidates', dtype=InstanceData)

    @property
    def pred_instances(self) -> InstanceData:
        return self._pred_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_pred_instances', dtype=InstanceData)
