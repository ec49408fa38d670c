"""Inference of a whole case, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.models.data_preprocessor import CTDataPreprocessor
from lungdet.models.detectors.case_windows import (
    CaseWindow,
    case_windows,
    crop_window,
    even_batches,
)
from lungdet.models.task_modules import DetectionPostProcessor
from lungdet.ops import box_centers, centers_in_boxes

# two windows put one nodule a little apart; cores overlap by this many
# voxels, so that none is lost at a seam, and NMS takes the doubles
SEAM = 2.0


class WindowDetector(Protocol):
    """What a detector must do to be run on whole cases."""

    def predict_window(
        self, images: Tensor, cores: Tensor | None = None
    ) -> list[InstanceData]:
        """Detections of windows (B, 1, d, h, w), in their voxels, on the CPU.

        Args:
            images: As the preprocessor makes them.
            cores: (B, 6) boxes: what is centred elsewhere belongs to another
                window and may be left out. A side without a neighbour is
                infinite.

        Returns:
            For each window ``bboxes`` (K, 6), ``scores`` (K,), ``mask_boxes``
            (K, 6) long and ``masks``, bool tensors or None.
        """
        ...


class CasePredictor:
    """Walk a case in windows and merge what a detector says of each.

    A case is split into windows of the training crops' size that overlap.
    Each detection belongs to the window whose core holds its centre; those
    within ``SEAM`` voxels of a core's face may come from both sides, and NMS
    over the case keeps the better one. Memory does not grow with the case
    beyond the case itself: a few windows are on the device at a time.

    Args:
        detector: Predicts windows; for ``loss_and_predict`` and ``score`` it
            also has ``loss_and_predict_window`` and ``score_window``, as
            ``NoduleNet``.
        preprocessor: Knows device, window of HU and padding.
        post_processor: Chooses the detections of the case.
        window: Voxels (z, y, x) of a window; None for the whole case at once,
            as published.
        overlap: Voxels that neighbours have in common.
        windows_at_once: Windows that run together, at most: on a CPU,
            float32 convolutions of one small image take a path that is up to
            seven times slower.
        min_inside: Voxels from a window's faces at which a nodule's centre
            must lie to be a target of validation, as ``LoadCrop``'s.
    """

    def __init__(
        self,
        detector: WindowDetector,
        preprocessor: CTDataPreprocessor,
        post_processor: DetectionPostProcessor,
        *,
        window: Sequence[int] | None,
        overlap: int,
        windows_at_once: int,
        min_inside: float,
    ) -> None:
        self.detector: Any = detector
        self.preprocessor = preprocessor
        self.post_processor = post_processor
        self.window = window
        self.overlap = overlap
        self.windows_at_once = windows_at_once
        self.min_inside = min_inside

    def predict(self, case: Tensor) -> InstanceData:
        """Detections of a case (1, D, H, W) of HU, best first, on the CPU."""
        parts: list[InstanceData] = []
        for windows, images in self._batches(case, self.windows(case)):
            detections = self.detector.predict_window(images, _cores(windows))
            parts += map(_in_case, detections, windows)
        return self._merge(parts, case)

    def loss_and_predict(
        self, case: Tensor, sample: DetDataSample
    ) -> tuple[dict[str, float], InstanceData]:
        """Validation losses and detections of a case with targets.

        Returns:
            Each loss as the mean over the windows that hold a nodule, as
            training crops do (empty if none does); and the detections.
        """
        losses: list[dict[str, Tensor]] = []
        parts: list[InstanceData] = []
        for windows, images in self._batches(case, self.windows(case)):
            targets = [
                window_targets(sample, window, self.min_inside)
                for window in windows
            ]
            window_losses, detections = self.detector.loss_and_predict_window(
                images, targets, _cores(windows)
            )
            losses += window_losses
            parts += map(_in_case, detections, windows)
        names = losses[0] if losses else {}
        means = {
            name: float(torch.stack([loss[name] for loss in losses]).mean())
            for name in names
        }
        return means, self._merge(parts, case)

    def score(self, case: Tensor, boxes: Tensor) -> Tensor:
        """Probabilities (K,) of given boxes (K, 6) of a case.

        Only windows whose core holds a box's centre are computed; a box
        whose centre lies outside the case has 0.
        """
        scores = torch.zeros(len(boxes))
        extent = boxes.new_tensor([0, 0, 0, *case.shape[1:]])
        inside = centers_in_boxes(boxes, extent[None])
        in_core = {}
        for window in self.windows(case):
            rows = inside & centers_in_boxes(boxes, window.core()[None])
            if rows.any():
                in_core[window] = rows
        for windows, images in self._batches(case, list(in_core)):
            of_windows = [
                boxes[in_core[w]].to(images) - w.offset().to(images)
                for w in windows
            ]
            window_scores = self.detector.score_window(images, of_windows)
            for window, window_score in zip(windows, window_scores):
                scores[in_core[window]] = window_score
        return scores

    def windows(self, case: Tensor) -> list[CaseWindow]:
        """The windows of a case (1, D, H, W)."""
        return case_windows(case.shape[1:], self.window, self.overlap)

    def _batches(
        self, case: Tensor, windows: list[CaseWindow]
    ) -> Iterator[tuple[list[CaseWindow], Tensor]]:
        """Windows that run together and their images, on the device."""
        prep = self.preprocessor
        for batch in even_batches(windows, self.windows_at_once):
            crops = [crop_window(case, w, prep.pad_hu) for w in batch]
            yield batch, prep.apply_window(torch.stack(crops).to(prep.device))

    def _merge(self, parts: list[InstanceData], case: Tensor) -> InstanceData:
        """All windows' detections inside the case, NMS across them."""
        detections = InstanceData.cat(parts)
        end = torch.tensor(case.shape[1:])
        inside = (box_centers(detections.bboxes) < end).all(1)
        detections = self.post_processor.select(detections[inside])
        # a padded window may reach past the case's end
        high = torch.minimum(detections.mask_boxes[:, 3:], end)
        detections.mask_boxes[:, 3:] = high
        sides = (high - detections.mask_boxes[:, :3]).clamp(min=0).tolist()
        detections.masks = [
            mask if mask is None else mask[:d, :h, :w].numpy()
            for mask, (d, h, w) in zip(detections.masks, sides)
        ]
        return detections


def _cores(windows: list[CaseWindow]) -> Tensor:
    """Cores (B, 6), and a seam around them, in each window's voxels."""
    return torch.stack([w.core(SEAM) - w.offset() for w in windows])


def _in_case(detections: InstanceData, window: CaseWindow) -> InstanceData:
    """Detections of a window, in the case's voxels."""
    moved = InstanceData(**dict(detections.items()))
    is_segmented = torch.tensor(
        [mask is not None for mask in detections.masks], dtype=torch.bool
    )
    offset = window.offset()
    moved.bboxes = detections.bboxes + offset
    moved.mask_boxes = detections.mask_boxes + offset * is_segmented[:, None]
    return moved


def window_targets(
    sample: DetDataSample, window: CaseWindow, margin: float
) -> DetDataSample:
    """Targets of a window of a case, by the rule of training crops.

    A nodule whose centre is nearer than ``margin`` voxels to a face is an
    ignored region, as excluded findings are.
    """
    size = torch.tensor(window.size)
    gt = sample.gt_instances.cpu()
    boxes = gt.bboxes - window.offset()
    center = box_centers(boxes)
    kept = ((center >= margin) & (center <= size - margin)).all(1)
    ignored = sample.ignored_instances.cpu().bboxes - window.offset()
    touching = torch.cat([boxes[~kept], ignored])
    inside = (touching[:, 3:] > 0).all(1) & (touching[:, :3] < size).all(1)
    target = DetDataSample()
    target.gt_instances = gt[kept]
    target.gt_instances.bboxes = boxes[kept]
    target.ignored_instances = InstanceData(bboxes=touching[inside])
    target.gt_masks = crop_window(sample.gt_masks[None], window, 0)[0]
    return target.to(sample.gt_instances.bboxes.device)
