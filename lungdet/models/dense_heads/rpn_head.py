"""Region proposal network: a score and a box for every anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.defaults import with_defaults
from lungdet.models.feature_maps import STRIDE, FeatureMaps
from lungdet.models.layers import ACT_CFG, norm_and_activation
from lungdet.models.task_modules import AssignResult
from lungdet.models.views import View, flip_boxes
from lungdet.ops import (
    box_centers,
    centers_in_boxes,
    check_finite,
    clip_box_centers,
    from_host,
    nms,
    nms_of_images,
)
from lungdet.registry import MODELS, TASK_UTILS

MAX_AT_ONCE = 2000  # boxes per image for one NMS of a whole batch

# proposals: minimum score, IoU of NMS, and the numbers kept before and after
# NMS, None for all
TRAIN_CFG: dict[str, Any] = {
    'assigner': {'type': 'MaxIoUAssigner3D'},
    'sampler': {'type': 'AnchorSampler3D'},
    'proposals': {
        'score_thr': 0.5,
        'nms_thr': 0.1,
        'nms_pre': 2000,
        'max_num': 300,
    },
}
TEST_CFG: dict[str, Any] = {
    'score_thr': 0.02,
    'nms_thr': 0.1,
    'nms_pre': 2000,
    'max_num': 60,
}


@MODELS.register_module()
class RPN3DHead(BaseModule):
    """Proposals from the decoder's map, ``comb2``.

    Args:
        in_channels: Channels of ``comb2``.
        feat_channels: Hidden channels.
        anchor_generator: Dict of an anchor generator.
        bbox_coder: Dict of a box coder.
        loss_cls: Dict of a loss taking (logits, positive, negative).
        loss_bbox: Dict of a loss taking (deltas, targets) of positives.
        norm_cfg: Norm of the hidden layer, as in mmcv; None for none.
        act_cfg: Its activation, as in mmcv.
        prior: Score of every anchor at the start (focal loss needs a small
            one); None keeps torch's initialisation, as published.
        train_cfg: Updates of ``TRAIN_CFG``.
        test_cfg: Updates of ``TEST_CFG``.

    Source: NoduleNet (Tang et al. 2019); layers named as published.
    """

    def __init__(
        self,
        in_channels: int = 128,
        feat_channels: int = 64,
        *,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        prior: float | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.train_cfg = with_defaults(train_cfg, TRAIN_CFG, 'train_cfg.rpn')
        self.test_cfg = with_defaults(test_cfg, TEST_CFG, 'test_cfg.rpn')
        build = TASK_UTILS.build
        self.prior_generator = build(
            anchor_generator or {'type': 'AnchorGenerator3D'}
        )
        self.bbox_coder = build(
            bbox_coder or {'type': 'DeltaBoxCoder3D', 'max_dlog': 4.0}
        )
        self.assigner = build(self.train_cfg['assigner'])
        self.sampler = build(self.train_cfg['sampler'])
        self.loss_cls = MODELS.build(loss_cls or {'type': 'HardNegativeBCE'})
        self.loss_bbox = MODELS.build(loss_bbox or {'type': 'SmoothL1BoxLoss'})
        num = self.prior_generator.num_anchors
        self.conv = nn.Sequential(
            nn.Conv3d(in_channels, feat_channels, 1),
            *norm_and_activation(feat_channels, norm_cfg, act_cfg or ACT_CFG),
        )
        self.logits = nn.Conv3d(feat_channels, num, 1)
        self.deltas = nn.Conv3d(feat_channels, 6 * num, 1)
        if prior is not None:
            assert self.logits.bias is not None
            nn.init.constant_(self.logits.bias, math.log(prior / (1 - prior)))

    def forward(self, feats: FeatureMaps) -> tuple[Tensor, Tensor]:
        """Logits (B, N) and deltas (B, N, 6) of every anchor.

        N runs over cells (z, y, x), then sizes, as in ``anchors``.
        """
        hidden = self.conv(feats.comb2)
        batch = hidden.shape[0]
        logits = self.logits(hidden).permute(0, 2, 3, 4, 1)
        deltas = self.deltas(hidden).permute(0, 2, 3, 4, 1)
        return logits.reshape(batch, -1), deltas.reshape(batch, -1, 6)

    def anchors(self, feats: FeatureMaps) -> Tensor:
        """Anchors (N, 6) of each image."""
        return self.prior_generator.grid_anchors(
            feats.comb2.shape[2:], feats.image.device, feats.image.dtype
        )

    def loss(
        self, feats: FeatureMaps, samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_bbox`` of a batch."""
        logits, deltas = self(feats)
        return self.loss_by_feat(logits, deltas, self.anchors(feats), samples)

    def predict(
        self, views: Sequence[View], regions: Tensor | None = None
    ) -> list[InstanceData]:
        """Proposals of each image, by ``test_cfg``.

        Args:
            views: Mirrored views of B images.
            regions: (B, 6) boxes, one of each image; proposals centred
                outside are left out. None for all.
        """
        outputs = [self(view.feats) for view in views]
        return self.predict_by_views(views, outputs, regions)

    def predict_by_views(
        self,
        views: Sequence[View],
        outputs: Sequence[tuple[Tensor, Tensor]],
        regions: Tensor | None = None,
    ) -> list[InstanceData]:
        """``predict`` from what the layers give for each view.

        An anchor's score and deltas are the means over the views.

        Raises:
            ConfigError: Several views, but anchors or coded boxes that cannot
                be mirrored.
        """
        if len(views) > 1:
            self._check_mirrors()
        check_finite('scores and boxes of the RPN head', *sum(outputs, ()))
        scores = [
            view.flip_cells(logits.sigmoid())
            for view, (logits, _) in zip(views, outputs)
        ]
        deltas = [
            view.flip_deltas(deltas)
            for view, (_, deltas) in zip(views, outputs)
        ]
        feats = views[0].feats
        return self.predict_by_feat(
            torch.stack(scores).mean(0),
            torch.stack(deltas).mean(0),
            self.anchors(feats),
            img_shape=feats.img_shape,
            cfg=self.test_cfg,
            regions=regions,
        )

    def _check_mirrors(self) -> None:
        """Compare a coded box of every anchor with its mirror image."""
        cells = (2, 3, 4)
        anchors = self.prior_generator.grid_anchors(cells)
        shape = [n * STRIDE for n in cells]
        maps = anchors.new_zeros(1, 1, *cells)
        view = View(FeatureMaps(maps, maps, maps, maps), (0, 1, 2))
        deltas = from_host([0.1, -0.2, 0.3, 0.4, 0.5, 0.6], anchors)
        deltas = deltas.repeat(len(anchors), 1)
        boxes = self.bbox_coder.decode(anchors, deltas)
        flipped = self.bbox_coder.decode(
            anchors, view.flip_deltas(deltas[None])[0]
        )
        wanted = view.flip_cells(flip_boxes(boxes, view.axes, shape)[None])[0]
        if not torch.allclose(flipped, wanted, atol=1e-3):
            raise ConfigError(
                f'{type(self.prior_generator).__name__}, '
                f'{type(self.bbox_coder).__name__}: anchors that are not '
                'symmetric, or deltas whose first three are no shift along '
                '(z, y, x), cannot be averaged over mirrored views; use '
                'test_cfg.flips=1.'
            )

    def loss_and_predict(
        self, feats: FeatureMaps, samples: list[DetDataSample]
    ) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """Losses, and the proposals that the RoI head is trained on."""
        logits, deltas = self(feats)
        anchors = self.anchors(feats)
        proposals = self.predict_by_feat(
            logits.sigmoid(),
            deltas,
            anchors,
            img_shape=feats.img_shape,
            cfg=self.train_cfg['proposals'],
        )
        return self.loss_by_feat(logits, deltas, anchors, samples), proposals

    def get_targets(
        self, anchors: Tensor, gt: Tensor, ignored: Tensor | None = None
    ) -> AssignResult:
        """Assign the anchors (N, 6) of one crop to its boxes (M, 6)."""
        assigned = self.assigner.assign(
            anchors,
            gt,
            ignored,
            per_cell=self.prior_generator.num_anchors,
        )
        return self.sampler.sample(assigned, self.training)

    def loss_by_feat(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """Losses over the anchors of all crops together.

        Args:
            logits: (B, N).
            deltas: (B, N, 6).
            anchors: (N, 6).
            samples: Targets of each crop.
        """
        boxes, ignored = (
            [part.bboxes.to(anchors, non_blocking=True) for part in parts]
            for parts in zip(
                *((s.gt_instances, s.ignored_instances) for s in samples)
            )
        )
        roles = [
            self.get_targets(anchors, gt, regions)
            for gt, regions in zip(boxes, ignored)
        ]
        is_positive = torch.stack([r.positive for r in roles])
        image, anchor = torch.nonzero(is_positive, as_tuple=True)
        gt_inds = torch.stack([r.gt_inds for r in roles])[image, anchor]
        matched = pad_sequence(boxes, batch_first=True)[image, gt_inds]
        return {
            'loss_rpn_cls': self.loss_cls(
                logits.flatten(),
                is_positive.flatten(),
                torch.cat([r.negative for r in roles]),
            ),
            'loss_rpn_bbox': self.loss_bbox(
                deltas[image, anchor],
                self.bbox_coder.encode(anchors[anchor], matched),
            ),
        }

    @torch.no_grad()
    def predict_by_feat(
        self,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        *,
        img_shape: tuple[int, int, int],
        cfg: dict[str, Any],
        regions: Tensor | None = None,
    ) -> list[InstanceData]:
        """Proposals of each image, best first.

        Args:
            scores: (B, N).
            deltas: (B, N, 6).
            anchors: (N, 6).
            img_shape: Input voxels (z, y, x).
            cfg: As ``TEST_CFG``.
            regions: As in ``predict``.

        Returns:
            For each image ``bboxes`` (K, 6) and ``scores`` (K,).
        """
        is_candidate = scores > cfg['score_thr']
        count = int(is_candidate.sum(1).max())
        if cfg['nms_pre'] is not None:
            count = min(count, cfg['nms_pre'])
        scores = scores.masked_fill(~is_candidate, -1)
        inds = scores.topk(count, dim=1).indices.sort(dim=1).values
        scores = scores.gather(1, inds)
        boxes = self.bbox_coder.decode(
            anchors[inds.flatten()],
            deltas.gather(1, inds[..., None].expand(-1, -1, 6)).flatten(0, 1),
        )
        boxes = clip_box_centers(boxes, img_shape).unflatten(0, inds.shape)
        if count > MAX_AT_ONCE:  # as published, without a limit
            parts = [
                self._kept(b[s >= 0], s[s >= 0], cfg)
                for b, s in zip(boxes, scores)
            ]
            if regions is not None:
                parts = _inside(parts, regions)
            return [part[: cfg['max_num']] for part in parts]
        order, keep = nms_of_images(boxes, scores, scores >= 0, cfg['nms_thr'])
        if regions is not None:
            regions = regions.to(boxes, non_blocking=True)
            centers = box_centers(boxes).gather(
                1, order[..., None].expand(-1, -1, 3)
            )
            keep &= (centers >= regions[:, None, :3]).all(-1)
            keep &= (centers < regions[:, None, 3:]).all(-1)
        if cfg['max_num'] is not None:
            keep &= keep.cumsum(1) <= cfg['max_num']
        order = order.gather(1, (~keep).byte().argsort(dim=1, stable=True))
        return [
            InstanceData(bboxes=b[rows[:num]], scores=s[rows[:num]])
            for b, s, rows, num in zip(
                boxes, scores, order, keep.sum(1).tolist()
            )
        ]

    def _kept(
        self, boxes: Tensor, scores: Tensor, cfg: dict[str, Any]
    ) -> InstanceData:
        """Proposals among the boxes (K, 6) of one image, for any K."""
        keep = nms(boxes, scores, cfg['nms_thr'])
        return InstanceData(bboxes=boxes[keep], scores=scores[keep])


def _inside(
    proposals: list[InstanceData], regions: Tensor
) -> list[InstanceData]:
    """Proposals of each image that are centred in its region (B, 6)."""
    return [
        p[centers_in_boxes(p.bboxes, region[None].to(p.bboxes))]
        for p, region in zip(proposals, regions)
    ]
