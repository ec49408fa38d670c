"""Fusion of the boxes that several models, or views, give to an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.ops import box_iou, box_volume, nms, same_object
from lungdet.registry import TASK_UTILS

ROWS = 1024  # boxes compared with all clusters at once
AVERAGED = ('scores', 'rpn_scores', 'rcnn_scores')


@TASK_UTILS.register_module()
class WeightedBoxClustering:
    """Average the detections of each object over the views that show it.

    The best detections that non-maximum suppression would keep head the
    clusters; a detection that one of them suppresses belongs to the best of
    these. With the weight w = IoU with the head x volume, a cluster's box is
    the mean weighted by score x w, and its scores are

        sum(score x w) / (sum(w) + missing x mean(w)),

    where ``missing`` is the number of views without a detection in the
    cluster, so what only one view detects counts less. The mask is the head's.

    Args:
        iou_thr: As in ``nms``.
        center_distance: As in ``nms``.
        center_radii: As in ``nms``.

    Source: Jaeger et al. 2018 (Retina U-Net), weighted box clustering,
        without its weight by the distance from a patch's centre.
    """

    def __init__(
        self,
        iou_thr: float | None = 0.1,
        center_distance: float | None = None,
        center_radii: float | None = None,
    ) -> None:
        self.rules: Mapping[str, float | None] = {
            'iou_thr': iou_thr,
            'center_distance': center_distance,
            'center_radii': center_radii,
        }

    def merge(self, detections: InstanceData, num_views: int) -> InstanceData:
        """One detection for each cluster, best first.

        Args:
            detections: ``bboxes`` (K, 6), ``scores`` (K,) and, where there are
                several views, ``views`` (K,) long, the view of each.
            num_views: How many there are.

        Returns:
            The clusters' heads with averaged boxes and scores.
        """
        boxes, scores = detections.bboxes, detections.scores
        heads = nms(boxes, scores, **self.rules)
        if not len(heads):
            return detections
        member = self._cluster_of(boxes, heads)
        of_head = boxes[heads][member]
        weight = _paired_iou(boxes, of_head) * box_volume(boxes)
        views = detections.get('views', torch.zeros_like(member))
        num = len(heads)
        present = torch.zeros(num, num_views, dtype=torch.bool)
        present[member, views] = True
        missing = num_views - present.sum(1)
        total = _sums(weight, member, num)
        count = _sums(torch.ones_like(weight), member, num)
        expected = total * (1 + missing / count)
        merged = detections[heads]
        # a score may be 0 where the second head's underflows
        by_score = scores.clamp(min=torch.finfo(scores.dtype).tiny) * weight
        merged.bboxes = (
            _sums(boxes * by_score[:, None], member, num)
            / _sums(by_score, member, num)[:, None]
        )
        for name in AVERAGED:
            if name in detections:
                sums = _sums(detections[name] * weight, member, num)
                merged.set_field(sums / expected, name)
        order = merged.scores.argsort(descending=True, stable=True)
        return merged[order]

    def _cluster_of(self, boxes: Tensor, heads: Tensor) -> Tensor:
        """Index (K,) of the best head that is the same object as each box."""
        parts = [
            same_object(part, boxes[heads], **self.rules)
            for part in boxes.split(ROWS)
        ]
        same = torch.cat(parts)
        same[heads] = False
        same[heads, torch.arange(len(heads))] = True
        return same.int().argmax(1)


def _paired_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """IoU (K,) of boxes (K, 6) with others (K, 6), row by row."""
    rows = [
        box_iou(a, b).diagonal()
        for a, b in zip(boxes_a.split(ROWS), boxes_b.split(ROWS))
    ]
    return torch.cat(rows)


def _sums(values: Tensor, group: Tensor, num: int) -> Tensor:
    """Sums of values (K, ...) over each of ``num`` groups."""
    sums = values.new_zeros(num, *values.shape[1:])
    return sums.index_add_(0, group, values)
