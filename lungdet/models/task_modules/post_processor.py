"""From the scores and boxes of both heads to a scan's detections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.errors import ConfigError
from lungdet.models.defaults import with_defaults
from lungdet.models.task_modules.box_clustering import (
    WeightedBoxClustering,
)
from lungdet.ops import nms
from lungdet.registry import TASK_UTILS

BOX_SOURCES = ('rcnn', 'rpn')
SCORE_FUSIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'mean': lambda rpn, rcnn: (rpn + rcnn) / 2,
    'product': lambda rpn, rcnn: rpn * rcnn,
    'rpn': lambda rpn, rcnn: rpn,
    'rcnn': lambda rpn, rcnn: rcnn,
}
NMS: dict[str, Any] = {
    'iou_thr': 0.1,
    'center_distance': None,
    'center_radii': None,
}


@TASK_UTILS.register_module()
class DetectionPostProcessor:
    """Box and score of a detection, and which detections are kept.

    Args:
        box_source: Box of a detection: ``'rcnn'``, the refined one,
            or ``'rpn'``, the proposal.
        score_fusion: Its score: the ``'mean'`` or the ``'product'`` of the
            RPN's and the RCNN's probability, or that of ``'rpn'`` or
            ``'rcnn'`` alone.
        nms: ``iou_thr``: of two detections of a scan with a larger overlap the
            better one is kept; ``center_distance``: the same if their centres
            are closer, in voxels; ``center_radii``: in radii of the larger
            one. None turns a rule off; of those that are on, each is enough.
        merge: Dict of what joins the detections of an object, such as
            ``WeightedBoxClustering``; None keeps the best one by ``nms``, or
            clusters by its rules if a case has several views: the models
            of an ensemble, or mirrored ones that a detector does not average.
        max_per_scan: Detections kept, None for all.

    Raises:
        ConfigError: An unknown ``box_source``, ``score_fusion`` or key of
            ``nms``.
    """

    def __init__(
        self,
        box_source: str = 'rcnn',
        score_fusion: str = 'mean',
        *,
        nms: dict[str, float | None] | None = None,
        merge: dict[str, Any] | None = None,
        max_per_scan: int | None = 100,
    ) -> None:
        _check('box_source', box_source, BOX_SOURCES)
        _check('score_fusion', score_fusion, SCORE_FUSIONS)
        self.box_source = box_source
        self.score_fusion = score_fusion
        self.nms = with_defaults(nms, NMS, 'DetectionPostProcessor.nms')
        self.merge = TASK_UTILS.build(merge) if merge else None
        self.max_per_scan = max_per_scan

    def fuse(
        self, proposals: InstanceData, refined: InstanceData | None
    ) -> InstanceData:
        """Detections of one image, best first, without masks.

        Args:
            proposals: The RPN's ``bboxes`` (K, 6) and ``scores`` (K,).
            refined: The RCNN's for the same rows; None while it has not
                started: boxes and scores are then the RPN's.

        Returns:
            ``bboxes`` (K, 6), ``scores``, ``rpn_scores``, ``rcnn_scores``
            (K,; NaN without an RCNN), ``proposals`` (K, 6), where the
            detections come from, ``mask_boxes`` (K, 6) of zeros and
            ``masks``, a list of None, both on the CPU.
        """
        boxes, scores = proposals.bboxes, proposals.scores
        rcnn_scores = torch.full_like(scores, torch.nan)
        if refined is not None:
            rcnn_scores = refined.scores
            scores = SCORE_FUSIONS[self.score_fusion](scores, rcnn_scores)
            if self.box_source == 'rcnn':
                boxes = refined.bboxes
        order = scores.argsort(descending=True, stable=True)
        return InstanceData(
            bboxes=boxes[order],
            scores=scores[order],
            rpn_scores=proposals.scores[order],
            rcnn_scores=rcnn_scores[order],
            proposals=proposals.bboxes[order],
            mask_boxes=torch.zeros(len(order), 6, dtype=torch.long),
            masks=[None] * len(order),
        )

    def select(
        self, detections: InstanceData, num_views: int = 1
    ) -> InstanceData:
        """The detections of a scan that are kept, best first.

        Args:
            detections: Detections of all windows in all views.
            num_views: Number of mirrored views and models that they come from;
                if more than one, ``views`` (K,) says which each comes from.
        """
        merge = self.merge
        if num_views > 1:
            detections = self._best_of_each_view(detections, num_views)
            merge = merge or WeightedBoxClustering(**self.nms)
        if merge is not None:
            return merge.merge(detections, num_views)[: self.max_per_scan]
        keep = nms(detections.bboxes, detections.scores, **self.nms)
        return detections[keep[: self.max_per_scan]]

    def _best_of_each_view(
        self, detections: InstanceData, num_views: int
    ) -> InstanceData:
        """What each view alone would keep.

        The weaker boxes that a view gives to an object are of no interest,
        and their scores would lower the mean: most that of a nodule, on which
        many proposals are refined.
        """
        kept = []
        for view in range(num_views):
            rows = torch.nonzero(detections.views == view).flatten()
            boxes, scores = detections.bboxes[rows], detections.scores[rows]
            kept.append(rows[nms(boxes, scores, **self.nms)])
        return detections[torch.cat(kept)]


def _check(argument: str, value: str, known: Any) -> None:
    if value not in known:
        raise ConfigError(
            f'DetectionPostProcessor.{argument}: {value!r}; choose one of '
            f'{sorted(known)}.'
        )
