"""NoduleNet: proposals, false-positive reduction and masks in one network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.detectors.sliding_window import (
    Window,
    cut,
    even_parts,
    windows,
)
from lungdet.models.plugins import pooling_plugins
from lungdet.ops import bfloat16_autocast, box_iou, nms
from lungdet.registry import MODELS


class Screened(NamedTuple):
    """What the backbone and the RPN made of a batch of windows.

    Attributes:
        image: (B, 1, D, H, W), windowed.
        out1: Stride 2.
        out2: Stride 4, of the encoder.
        comb2: Stride 4, of the decoder.
        logits: (B, N) of the anchors.
        deltas: (B, N, 6).
        anchors: (N, 6).
    """

    image: Tensor
    out1: Tensor
    out2: Tensor
    comb2: Tensor
    logits: Tensor
    deltas: Tensor
    anchors: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a window (z, y, x)."""
        depth, height, width = self.image.shape[2:]
        return depth, height, width


TRAIN_CFG: dict[str, Any] = {
    # (z, y, x) of the training crops; load_config takes it from PlaceCrop
    'crop_size': None,
    # epochs, counted from 1, from which on a head is trained
    'stage_epochs': {'rcnn': 65, 'mask': 80},
    'proposals': {
        'score_thr': 0.5,
        'nms_thr': 0.1,
        'nms_pre': 2000,
        'max_num': 300,
    },
    # 'rois': the sampled positives; 'detections': as published
    'mask_from': 'rois',
    'max_mask_pos': 4,
    'detections': {'score_thr': 0.5, 'nms_thr': 0.1},
}
# two windows place one mark a little apart; cores overlap by this many
# voxels, so that none is lost at a seam, and NMS takes the doubles
SEAM = 2.0
TEST_CFG: dict[str, Any] = {
    'window': (128, 128, 128),  # None: the whole case at once, as published
    'overlap': 32,
    'windows_at_once': 4,
    'proposals': {
        'score_thr': 0.02,
        'nms_thr': 0.1,
        'nms_pre': 2000,
        'max_num': 60,
    },
    'nms_thr': 0.1,
    'max_per_scan': 100,
    'min_inside': 4.0,  # of validation losses, as LoadCrop
    'box_source': 'rcnn',
    'mask': {'score_thr': 0.3, 'max_per_window': 4},
    'bf16': False,
}


@MODELS.register_module()
class NoduleNet(BaseModel):
    """Backbone, RPN, RCNN and mask head.

    Args:
        backbone: Dict of a backbone returning (out1, out2, comb2).
        rpn_head: Dict of the RPN head.
        rcnn_head: Dict of the second stage, None for RPN alone.
        mask_head: Dict of the mask head, None for boxes alone.
        data_preprocessor: Dict of the preprocessor.
        train_cfg: Differences to ``TRAIN_CFG``.
        test_cfg: Differences to ``TEST_CFG``.
        channels_last: Memory format of the backbone; about twice as fast
            with bfloat16 on CPUs that have it.
        init_cfg: mmengine's.

    Source: NoduleNet (Tang et al. 2019, arXiv 1907.11320).
    """

    def __init__(
        self,
        backbone: dict,
        rpn_head: dict,
        *,
        rcnn_head: dict | None = None,
        mask_head: dict | None = None,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        channels_last: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            MODELS.build(data_preprocessor or {'type': 'CTDataPreprocessor'}),
            init_cfg,
        )
        self.backbone = MODELS.build(backbone)
        self.rpn = MODELS.build(rpn_head)
        # None where a head is absent; is_active() tells
        self.rcnn_head: Any = MODELS.build(rcnn_head) if rcnn_head else None
        self.mask_head: Any = MODELS.build(mask_head) if mask_head else None
        self.train_cfg = merged(TRAIN_CFG, train_cfg, 'train_cfg')
        self.test_cfg = merged(TEST_CFG, test_cfg, 'test_cfg')
        self.channels_last = channels_last
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last_3d)
        self.epoch = max(self.train_cfg['stage_epochs'].values())

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, from 1: heads start by ``stage_epochs``."""
        self.epoch = epoch

    def is_active(self, head: str) -> bool:
        """Whether ``'rcnn'`` or ``'mask'`` exists and has started."""
        module = self.rcnn_head if head == 'rcnn' else self.mask_head
        start = self.train_cfg['stage_epochs'][head]
        return module is not None and self.epoch >= start

    def forward(
        self,
        inputs: Any,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Losses, predictions or features.

        Args:
            inputs: ``'loss'``, ``'tensor'``: windowed crops (B, 1, D, H, W);
                ``'predict'``: cases (1, D, H, W) in HU.
            data_samples: One for each input.
            mode: ``'loss'`` returns named losses, ``'predict'`` the samples
                with ``pred_instances``, and ``losses`` where a sample has
                targets; ``'tensor'`` (out1, out2, comb2).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            samples = data_samples or [DetDataSample() for _ in inputs]
            for case, sample in zip(inputs, samples):
                if 'candidates' in sample:
                    boxes = sample.candidates.bboxes
                    found = self.score_candidates(case, boxes)
                else:
                    found = self.predict_case(case, sample)
                sample.pred_instances = found
            return samples
        return self.extract(inputs)

    def extract(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps of windowed crops, float32 (or the input's type)."""
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last_3d)
        out1, out2, comb2 = self.backbone(image)
        return _full(out1), _full(out2), _full(comb2)

    def loss(
        self, image: Tensor, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the heads that have started.

        Heads, targets and losses run in float32 also under autocast.
        """
        features = self.extract(image)
        with torch.autocast(image.device.type, enabled=False):
            return self._head_losses(
                self._screen(image, features), data_samples
            )

    def _screen(
        self, image: Tensor, features: tuple[Tensor, Tensor, Tensor]
    ) -> Screened:
        out1, out2, comb2 = features
        logits, deltas = self.rpn(comb2)
        anchors = self.rpn.anchors.grid_anchors(
            comb2.shape[2:], image.device, image.dtype
        )
        return Screened(image, out1, out2, comb2, logits, deltas, anchors)

    def _proposals(self, seen: Screened, cfg: dict) -> list[InstanceData]:
        return self.rpn.proposals(
            seen.logits,
            seen.deltas,
            anchors=seen.anchors,
            img_shape=seen.shape,
            cfg=cfg['proposals'],
        )

    def _head_losses(
        self, seen: Screened, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        dtype = seen.image.dtype
        gt = [s.gt_instances.bboxes.to(dtype) for s in data_samples]
        ignored = [s.ignored_instances.bboxes.to(dtype) for s in data_samples]
        losses = self.rpn.loss(
            seen.logits,
            seen.deltas,
            anchors=seen.anchors,
            gt_boxes=gt,
            ignored_boxes=ignored,
        )
        if not self.is_active('rcnn'):
            return losses
        proposals = self._proposals(seen, self.train_cfg)
        batch = self.rcnn_head.sample(proposals, gt, ignored)
        pooled = self.rcnn_head.extractor(seen.out2, batch.rois)
        cls, box = self.rcnn_head(pooled)
        losses |= self.rcnn_head.loss(cls, box, batch)
        if self.is_active('mask'):
            if self.train_cfg['mask_from'] == 'detections':
                rois = self.rcnn_head.detections(
                    batch.rois,
                    cls,
                    box,
                    img_shape=seen.shape,
                    cfg=self.train_cfg['detections'],
                )
            else:
                rois = batch.rois[batch.labels > 0]
            losses |= self._mask_loss(seen, rois, data_samples)
        return losses

    def _mask_loss(
        self,
        seen: Screened,
        rois: Tensor,
        data_samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """Mask loss of at most ``max_mask_pos`` RoIs of each crop.

        A RoI belongs to the nodule it overlaps most; nodules without a
        reference mask give no mask loss.
        """
        kept, ids = [], []
        for index, sample in enumerate(data_samples):
            gt = sample.gt_instances
            mine = rois[rois[:, 0] == index]
            if not len(mine) or not len(gt.bboxes):
                continue
            overlap = box_iou(mine[:, 1:], gt.bboxes.to(mine.dtype))
            iou, owner = overlap.max(1)
            usable = (iou > 0) & gt.has_mask[owner]
            chosen = torch.nonzero(usable).flatten()
            chosen = chosen[: self.train_cfg['max_mask_pos']]
            kept.append(mine[chosen])
            ids.append(gt.ids[owner[chosen]])
        rows = torch.cat(kept) if kept else rois[:0]
        boxes, full = self.mask_head.boxes(rows, seen.shape)
        numbers = torch.cat(ids)[full] if ids else boxes.new_zeros(0)
        logits = self.mask_head(seen.image, seen.out1, seen.comb2, boxes)
        masks = [sample.gt_masks for sample in data_samples]
        return self.mask_head.loss(logits, boxes, masks, numbers)

    @torch.no_grad()
    def predict_case(
        self, case: Tensor, sample: DetDataSample | None = None
    ) -> InstanceData:
        """Marks of a whole case, walked in windows.

        Memory does not grow with the case beyond the case itself: a few
        windows are on the device at a time.

        Args:
            case: (1, D, H, W) HU, any device.
            sample: If it has targets, it gets ``losses``: each loss as the
                mean over the windows that hold a nodule, as training crops
                do; none where no window does.

        Returns:
            ``bboxes`` (K, 6), ``scores``, ``rpn_scores``, ``rcnn_scores``
            (K,; NaN while the second stage has not started), ``mask_boxes``
            (K, 6) and ``masks`` (list of bool arrays or None), on the CPU,
            best first, K at most ``max_per_scan``.

        Warns:
            UserWarning: A plugin pools over space and the windows are not of
                the training crops' size.
        """
        cfg = self.test_cfg
        found: list[InstanceData] = []
        losses: list[dict[str, Tensor]] = []
        every = windows(case.shape[1:], cfg['window'], cfg['overlap'])
        for window, image, features in self._look(case, list(every)):
            with torch.autocast(image.device.type, enabled=False):
                seen = self._screen(image, features)
                found.append(self._marks(seen, window))
                if sample is not None and 'gt_instances' in sample:
                    target = window_targets(sample, window, cfg['min_inside'])
                    if len(target.gt_instances):
                        losses.append(self._head_losses(seen, [target]))
        if sample is not None and losses:
            sample.losses = {
                name: float(
                    torch.stack([loss[name] for loss in losses]).mean()
                )
                for name in losses[0]
            }
        return self._merge(found, tuple(case.shape[1:]))

    def _check_window(self) -> None:
        window, crop = self.test_cfg['window'], self.train_cfg['crop_size']
        pooling = pooling_plugins(self.backbone)
        known = crop is not None and window is not None
        if pooling and not (known and tuple(window) == tuple(crop)):
            size = 'of unknown size' if crop is None else tuple(crop)
            names = ', '.join(pooling)
            warnings.warn(
                f'test_cfg.window: {window and tuple(window)}, but the '
                f'training crops were {size}; {names} pools over the whole '
                'window, so its gates differ from those trained. Set '
                'model.test_cfg.window to the size of the training crops '
                '(and model.train_cfg.crop_size, if that is unknown).',
                stacklevel=2,
            )

    @torch.no_grad()
    def score_candidates(self, case: Tensor, boxes: Tensor) -> InstanceData:
        """Probabilities of given boxes by the second stage alone.

        The case is walked as in ``predict_case``, but only windows that own
        a box are computed.

        Args:
            case: (1, D, H, W) HU, any device.
            boxes: (K, 6) edge boxes in its voxels.

        Returns:
            ``bboxes`` as given, ``scores`` and ``rcnn_scores`` (K,), 0 where
            a box's centre lies outside the case.

        Raises:
            ConfigError: The second stage is absent or has not started.

        Warns:
            UserWarning: As ``predict_case``.
        """
        if not self.is_active('rcnn'):
            raise ConfigError(
                'score_candidates: this model has no second stage, or it has '
                'not started at its epoch; only the RCNN head can score '
                'given candidates. Test a checkpoint of a later epoch.'
            )
        scores = torch.zeros(len(boxes))
        center = (boxes[:, :3] + boxes[:, 3:]) / 2
        end = center.new_tensor(case.shape[1:])
        inside = ((center >= 0) & (center < end)).all(1)
        cfg = self.test_cfg
        owned = []
        for window in windows(case.shape[1:], cfg['window'], cfg['overlap']):
            mine = inside & window.owns(center)
            if mine.any():
                owned.append((window, mine))
        looks = self._look(case, [window for window, _ in owned])
        for (window, mine), (_, image, features) in zip(owned, looks):
            offset = boxes.new_tensor(window.start).repeat(2)
            scores[mine] = self._rescore(
                boxes[mine].to(image) - offset.to(image), features
            )
        return InstanceData(bboxes=boxes, scores=scores, rcnn_scores=scores)

    def _rescore(
        self, boxes: Tensor, features: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Nodule probabilities (n,) of boxes (n, 6) in a window's voxels."""
        rois = with_batch_index(boxes)
        with torch.autocast(boxes.device.type, enabled=False):
            pooled = self.rcnn_head.extractor(features[1], rois)
            logits, _ = self.rcnn_head(pooled)
        return logits.softmax(1)[:, 1].cpu()

    def _look(
        self, case: Tensor, chosen: list[Window]
    ) -> Iterator[tuple[Window, Tensor, tuple[Tensor, Tensor, Tensor]]]:
        """Each window, its image on the device, and its features.

        Several windows run together: on a CPU, float32 convolutions of one
        small image take a path that is up to seven times slower.
        """
        self._check_window()
        cfg, prep = self.test_cfg, self.data_preprocessor
        device = next(self.parameters()).device
        for part in even_parts(chosen, cfg['windows_at_once']):
            tiles = torch.stack(
                [cut(case, w.start, w.size, prep.pad_hu) for w in part]
            )
            images = prep.apply_window(tiles.to(device))
            with bfloat16_autocast(device.type, cfg['bf16']):
                out1, out2, comb2 = self.extract(images)
            for k, window in enumerate(part):
                one = slice(k, k + 1)
                yield window, images[one], (out1[one], out2[one], comb2[one])

    def _marks(self, seen: Screened, window: Window) -> InstanceData:
        """Marks of one window whose proposals lie in its core, on the CPU."""
        cfg = self.test_cfg
        (found,) = self._proposals(seen, cfg)
        offset = found.bboxes.new_tensor(window.start)
        center = (found.bboxes[:, :3] + found.bboxes[:, 3:]) / 2 + offset
        found = found[window.owns(center, SEAM)]
        boxes, rpn_scores = found.bboxes, found.scores
        scores = rpn_scores
        rcnn_scores = torch.full_like(rpn_scores, torch.nan)
        if self.is_active('rcnn') and len(boxes):
            rois = with_batch_index(boxes)
            pooled = self.rcnn_head.extractor(seen.out2, rois)
            refined, rcnn_scores = self.rcnn_head.refine(
                boxes, *self.rcnn_head(pooled), seen.shape
            )
            scores = (rpn_scores + rcnn_scores) / 2
            if cfg['box_source'] == 'rcnn':
                boxes = refined
        rows = scores.argsort(descending=True, stable=True)
        marks = InstanceData(
            bboxes=boxes[rows],
            scores=scores[rows],
            rpn_scores=rpn_scores[rows],
            rcnn_scores=rcnn_scores[rows],
        )
        mask_boxes, masks = self._window_masks(seen, marks, window)
        marks.bboxes = marks.bboxes + offset.repeat(2)
        marks = marks.cpu()
        marks.mask_boxes, marks.masks = mask_boxes, masks
        return marks

    def _window_masks(
        self, seen: Screened, marks: InstanceData, window: Window
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Mask boxes (K, 6) in the case and boolean masks, on the CPU.

        Marks without a mask, as beyond the best few, have 0 and None.
        """
        cfg = self.test_cfg['mask']
        boxes = torch.zeros(len(marks), 6, dtype=torch.long)
        masks: list[Tensor | None] = [None] * len(marks)
        if not self.is_active('mask'):
            return boxes, masks
        best = torch.nonzero(marks.scores >= cfg['score_thr']).flatten()
        rois = with_batch_index(marks.bboxes)[best[: cfg['max_per_window']]]
        aligned, full = self.mask_head.boxes(rois, seen.shape)
        logits = self.mask_head(seen.image, seen.out1, seen.comb2, aligned)
        if not logits:
            return boxes, masks
        rows = best[: len(rois)][full].cpu()
        offset = torch.tensor(window.start).repeat(2)
        boxes[rows] = aligned[:, 1:].cpu() + offset
        flat = torch.cat([(logit > 0).flatten() for logit in logits]).cpu()
        pieces = flat.split([logit.numel() for logit in logits])
        for row, piece, logit in zip(rows.tolist(), pieces, logits):
            masks[row] = piece.view(logit.shape)
        return boxes, masks

    def _merge(
        self, found: list[InstanceData], shape: tuple[int, ...]
    ) -> InstanceData:
        """All windows' marks inside the case, NMS across them, the best."""
        cfg = self.test_cfg
        marks = InstanceData.cat(found)
        end = torch.tensor(shape)
        center = (marks.bboxes[:, :3] + marks.bboxes[:, 3:]) / 2
        marks = marks[(center < end).all(1)]
        keep = nms(marks.bboxes, marks.scores, cfg['nms_thr'])
        marks = marks[keep[: cfg['max_per_scan']]]
        # a padded window may reach past the case's end
        high = torch.minimum(marks.mask_boxes[:, 3:], end)
        marks.mask_boxes[:, 3:] = high
        sides = (high - marks.mask_boxes[:, :3]).clamp(min=0).tolist()
        marks.masks = [
            mask if mask is None else mask[:d, :h, :w].numpy()
            for mask, (d, h, w) in zip(marks.masks, sides)
        ]
        return marks


def with_batch_index(boxes: Tensor) -> Tensor:
    """RoIs (N, 7) from the boxes (N, 6) of the only image of a batch."""
    return torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)


def window_targets(
    sample: DetDataSample, window: Window, margin: float
) -> DetDataSample:
    """Targets of a window of a case, by the rule of training crops.

    A nodule whose centre is nearer than ``margin`` voxels to a face is an
    ignored region, as excluded findings are.
    """
    size = torch.tensor(window.size)
    offset = torch.tensor(window.start)
    gt = sample.gt_instances.cpu()
    boxes = gt.bboxes - offset.repeat(2)
    center = (boxes[:, :3] + boxes[:, 3:]) / 2
    kept = ((center >= margin) & (center <= size - margin)).all(1)
    touching = torch.cat(
        [
            boxes[~kept],
            sample.ignored_instances.cpu().bboxes - offset.repeat(2),
        ]
    )
    inside = (touching[:, 3:] > 0).all(1) & (touching[:, :3] < size).all(1)
    target = DetDataSample()
    target.gt_instances = gt[kept]
    target.gt_instances.bboxes = boxes[kept]
    target.ignored_instances = InstanceData(bboxes=touching[inside])
    masks = cut(sample.gt_masks[None], window.start, window.size, 0)
    target.gt_masks = masks[0]
    return target.to(sample.gt_instances.bboxes.device)


def merged(default: dict, given: dict | None, where: str) -> dict:
    """Defaults with differences; nested dicts merge.

    Raises:
        ConfigError: A key that has no default.
    """
    result = dict(default)
    for key, value in (given or {}).items():
        if key not in default:
            raise ConfigError(
                f'{where}: unknown key {key!r}; known: {sorted(default)}.'
            )
        if isinstance(default[key], dict):
            value = merged(default[key], value, f'{where}.{key}')
        result[key] = value
    return result


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
