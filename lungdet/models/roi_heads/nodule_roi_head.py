"""The RoI head: false-positive reduction and segmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.defaults import with_defaults
from lungdet.models.feature_maps import FeatureMaps
from lungdet.models.task_modules import SamplingResult
from lungdet.models.views import View, flip_boxes
from lungdet.ops import box_iou, check_finite, grow_boxes
from lungdet.registry import MODELS, TASK_UTILS

TRAIN_CFG: dict[str, Any] = {
    'rcnn': {
        # first epoch, counted from 1, in which the head is trained
        'start_epoch': 65,
        'assigner': {
            'type': 'MaxIoUAssigner3D',
            'pos_iou': 0.5,
            'neg_iou': 0.1,
            'force_match': False,
        },
        'sampler': {'type': 'RoISampler3D'},
    },
    # max_pos: RoIs of a crop that are segmented, None for all
    'mask': {'start_epoch': 80, 'max_pos': 4},
}
TEST_CFG: dict[str, Any] = {'mask': {'score_thr': 0.3, 'max_per_window': 4}}


@MODELS.register_module()
class NoduleRoIHead(BaseModule):
    """Pool the proposals, classify and refine them, segment the best.

    Args:
        bbox_roi_extractor: Dict of the extractor that pools ``out2``.
        bbox_head: Dict of the head that classifies and refines.
        mask_head: Dict of the mask head, None for boxes alone.
        border: Voxels by which this head's boxes are longer than what they
            show, so that it sees the surroundings: it grows proposals and
            nodules, and shrinks the boxes that it refined.
        train_cfg: Updates of ``TRAIN_CFG``.
        test_cfg: Updates of ``TEST_CFG``.

    Raises:
        ConfigError: The extractor's number of bins differs from the
            ``bbox_head``'s; an unknown key.

    Source: NoduleNet (Tang et al. 2019).
    """

    def __init__(
        self,
        bbox_roi_extractor: dict | None = None,
        bbox_head: dict | None = None,
        mask_head: dict | None = None,
        *,
        border: float = 0.0,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.border = border
        self.train_cfg = with_defaults(train_cfg, TRAIN_CFG, 'train_cfg')
        self.test_cfg = with_defaults(test_cfg, TEST_CFG, 'test_cfg')
        self.bbox_roi_extractor = MODELS.build(
            bbox_roi_extractor or {'type': 'RoICrop3D'}
        )
        self.bbox_head = MODELS.build(bbox_head or {'type': 'BBox3DHead'})
        # None if absent; see mask_started
        self.mask_head: Any = MODELS.build(mask_head) if mask_head else None
        pooled = self.bbox_roi_extractor.output_size
        if pooled != self.bbox_head.roi_feat_size:
            raise ConfigError(
                f'bbox_head.roi_feat_size: {self.bbox_head.roi_feat_size}, '
                f'but bbox_roi_extractor.output_size is {pooled}; give both '
                'the same.'
            )
        rcnn_cfg = self.train_cfg['rcnn']
        self.bbox_assigner = TASK_UTILS.build(rcnn_cfg['assigner'])
        self.bbox_sampler = TASK_UTILS.build(rcnn_cfg['sampler'])
        self.epoch: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 1; without it, every head has started."""
        self.epoch = epoch

    def follow_training(self, train_cfg: Mapping[str, Any]) -> None:
        """Take over the epochs at which the heads started.

        Args:
            train_cfg: The detector's in the training of the weights.
        """
        for head in ('rcnn', 'mask'):
            key = 'start_epoch'
            start = (train_cfg.get(head) or {}).get(key, TRAIN_CFG[head][key])
            self.train_cfg[head] = {**self.train_cfg[head], key: start}

    @property
    def bbox_started(self) -> bool:
        """Whether the ``bbox_head`` has started training."""
        start = self.train_cfg['rcnn']['start_epoch']
        return self.epoch is None or self.epoch >= start

    @property
    def mask_started(self) -> bool:
        """Whether there is a ``mask_head`` that has started training."""
        start = self.train_cfg['mask']['start_epoch']
        started = self.epoch is None or self.epoch >= start
        return self.mask_head is not None and started

    def bbox_forward(
        self, feats: FeatureMaps, rois: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits and deltas of RoIs (R, 7)."""
        return self.bbox_head(self.bbox_roi_extractor(feats.out2, rois))

    def loss(
        self,
        feats: FeatureMaps,
        proposals: list[InstanceData],
        samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """Losses of the heads that have started.

        Args:
            feats: Maps of the crops.
            proposals: ``bboxes`` (K, 6) of each crop.
            samples: Targets of each crop.
        """
        if not self.bbox_started:
            return {}
        device = feats.image.device
        sampled = [
            result._replace(priors=self.grow(result.priors))
            for result in self.sample_proposals(on_host(proposals), samples)
        ]
        rois = boxes_to_rois([result.priors for result in sampled])
        logits, deltas = self.bbox_forward(
            feats, rois.to(device, non_blocking=True)
        )
        gt_boxes = [self.grow(s.gt_instances.bboxes) for s in samples]
        labels, bbox_targets = self.bbox_head.get_targets(sampled, gt_boxes)
        losses = self.bbox_head.loss(logits, deltas, labels, bbox_targets)
        if self.mask_started:
            rois = self.mask_rois(
                rois, labels, logits, deltas, img_shape=feats.img_shape
            )
            losses |= self.mask_loss(feats, rois, samples)
        return losses

    def grow(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 6) as this head sees them, with their ``border``."""
        return grow_boxes(boxes, self.border) if self.border else boxes

    @torch.no_grad()
    def sample_proposals(
        self, proposals: list[InstanceData], samples: list[DetDataSample]
    ) -> list[SamplingResult]:
        """Label the proposals of each crop and sample those for the loss.

        They are few, and their number depends on their labels, so they are on
        the CPU: otherwise every crop would have to wait for the GPU.
        """
        sampled = []
        for proposal, sample in zip(proposals, samples):
            boxes = proposal.bboxes
            gt = sample.gt_instances.bboxes.to(boxes)
            ignored = sample.ignored_instances.bboxes.to(boxes)
            assigned = self.bbox_assigner.assign(boxes, gt, ignored)
            sampled.append(
                self.bbox_sampler.sample(assigned, boxes, gt, self.training)
            )
        return sampled

    def mask_rois(
        self,
        rois: Tensor,
        labels: Tensor,
        logits: Tensor,
        deltas: Tensor,
        *,
        img_shape: tuple[int, int, int],
    ) -> Tensor:
        """RoIs (P, 7) that the mask head is trained on: the positives.

        Args:
            rois: (R, 7) sampled for the ``bbox_head``, on the CPU.
            labels: (R,) their classes, 0 background, on the CPU.
            logits: (R, classes + 1) outputs of the ``bbox_head``.
            deltas: (R, 6 * (classes + 1)).
            img_shape: Input voxels (z, y, x).
        """
        return rois[labels > 0]

    def mask_loss(
        self,
        feats: FeatureMaps,
        rois: Tensor,
        samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """``loss_mask`` of at most ``max_pos`` RoIs (P, 7) of each crop.

        A RoI belongs to the nodule it overlaps most; nodules without a
        reference mask give no mask loss.
        """
        chosen, ids, rois = [], [], rois.cpu()
        for index, sample in enumerate(samples):
            gt = sample.gt_instances.cpu()
            of_crop = rois[rois[:, 0] == index]
            if not len(of_crop) or not len(gt.bboxes):
                continue
            nodules = self.grow(gt.bboxes.to(rois.dtype))
            overlap = box_iou(of_crop[:, 1:], nodules)
            iou, gt_inds = overlap.max(1)
            usable = torch.nonzero((iou > 0) & gt.has_mask[gt_inds]).flatten()
            usable = usable[: self.train_cfg['mask']['max_pos']]
            chosen.append(of_crop[usable])
            ids.append(gt.ids[gt_inds[usable]])
        rois = torch.cat(chosen) if chosen else rois[:0]
        boxes, is_full = self.mask_head.mask_boxes(rois, feats.img_shape)
        box_ids = torch.cat(ids)[is_full] if ids else boxes[:, 0]
        targets = self.mask_head.get_targets(
            boxes, [sample.gt_masks for sample in samples], box_ids
        )
        logits = self.mask_head(feats, boxes)
        device = feats.image.device
        return self.mask_head.loss(
            logits, [t.to(device, non_blocking=True) for t in targets]
        )

    @torch.no_grad()
    def predict_bbox(
        self, views: Sequence[View], proposals: list[InstanceData]
    ) -> list[InstanceData]:
        """Refined ``bboxes`` (K, 6) and nodule probabilities ``scores`` (K,)
        of the proposals of each image, in their order.

        Args:
            views: Mirrored views of the images; boxes and scores are the means
                over them.
            proposals: ``bboxes`` (K, 6) of each image.
        """
        boxes = [proposal.bboxes for proposal in proposals]
        rois = boxes_to_rois([self.grow(b) for b in boxes])
        refined, scores = (
            torch.stack(of_views).mean(0)
            for of_views in zip(*(self._refine(view, rois) for view in views))
        )
        if self.border:
            refined = grow_boxes(refined, -self.border)
        counts = [len(b) for b in boxes]
        return [
            InstanceData(bboxes=b, scores=s)
            for b, s in zip(refined.split(counts), scores.split(counts))
        ]

    def _refine(self, view: View, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (R, 6) and scores (R,) that a view gives to RoIs (R, 7)."""
        rois = view.flip_rois(rois)
        logits, deltas = self.bbox_forward(view.feats, rois)
        check_finite('scores and boxes of the RoI head', logits, deltas)
        boxes, scores = self.bbox_head.predict(
            rois[:, 1:], logits, deltas, view.feats.img_shape
        )
        return flip_boxes(boxes, view.axes, view.feats.img_shape), scores

    @torch.no_grad()
    def predict_mask(
        self, views: Sequence[View], detections: list[InstanceData]
    ) -> list[InstanceData]:
        """Segment the best few detections of each image.

        Args:
            views: Mirrored views of the images, whose logits are averaged.
            detections: ``bboxes`` (K, 6) and ``scores`` (K,) of each, best
                first.

        Returns:
            The same with ``mask_boxes`` (K, 6) long, 0 where there is no
            mask, and ``masks``, bool tensors of those boxes or None; both on
            the CPU.
        """
        cfg = self.test_cfg['mask']
        best = [
            torch.nonzero(d.scores >= cfg['score_thr']).flatten()[
                : cfg['max_per_window']
            ]
            for d in detections
        ]
        rois = boxes_to_rois(
            [self.grow(d.bboxes[k]) for d, k in zip(detections, best)]
        )
        boxes, is_full = self.mask_head.mask_boxes(
            rois, views[0].feats.img_shape
        )
        of_views = [self._mask_logits(view, boxes) for view in views]
        logits = [torch.stack(of_box).mean(0) for of_box in zip(*of_views)]
        check_finite('masks', *logits)
        masks = _masks_to_cpu(logits)
        segmented = [
            InstanceData(
                **{
                    **dict(d.items()),
                    'mask_boxes': torch.zeros(len(d), 6, dtype=torch.long),
                    'masks': [None] * len(d),
                }
            )
            for d in detections
        ]
        rows = torch.cat(best)[is_full].tolist()
        for row, (image, *box), mask in zip(rows, boxes.tolist(), masks):
            segmented[image].mask_boxes[row] = torch.tensor(box)
            segmented[image].masks[row] = mask
        return segmented

    def _mask_logits(self, view: View, boxes: Tensor) -> list[Tensor]:
        """Logits that a view gives to boxes (K, 7), at their sizes."""
        logits = self.mask_head(view.feats, view.flip_rois(boxes))
        return [logit.flip(view.axes) for logit in logits]


def on_host(instances: list[InstanceData]) -> list[InstanceData]:
    """Instances of each image on the CPU, transferred in one copy.

    Args:
        instances: Instances of each image, all with the same fields: tensors
            on one device, with one row per instance, and others, which are
            left unchanged.
    """
    numbers = {
        name: value.shape[1:]
        for name, value in instances[0].items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    packed = torch.cat(
        [
            torch.cat(
                [
                    one[name].flatten(1) if shape else one[name][:, None]
                    for name, shape in numbers.items()
                ],
                dim=1,
            )
            for one in instances
        ]
    ).cpu()
    widths = [math.prod(shape) for shape in numbers.values()]
    copied = []
    for one, rows in zip(instances, packed.split(list(map(len, instances)))):
        columns = rows.split(widths, dim=1)
        moved = {
            name: column.reshape(len(rows), *shape)
            for (name, shape), column in zip(numbers.items(), columns)
        }
        copied.append(InstanceData(**{**dict(one.items()), **moved}))
    return copied


def boxes_to_rois(boxes: list[Tensor]) -> Tensor:
    """RoIs (R, 7), batch index first, from the boxes (N, 6) of each image."""
    rois = [
        torch.cat([b.new_full((len(b), 1), index), b], dim=1)
        for index, b in enumerate(boxes)
    ]
    return torch.cat(rois)


def _masks_to_cpu(logits: list[Tensor]) -> list[Tensor]:
    """Boolean masks on the CPU, copied from the device at once."""
    if not logits:
        return []
    flat = torch.cat([(logit > 0).flatten() for logit in logits]).cpu()
    pieces = flat.split([logit.numel() for logit in logits])
    return [p.view(logit.shape) for p, logit in zip(pieces, logits)]
