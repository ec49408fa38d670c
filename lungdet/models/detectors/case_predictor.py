"""Sliding-window inference on a whole case."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.data_preprocessor import CTDataPreprocessor
from lungdet.models.detectors.case_detections import (
    cores,
    near_lungs,
    owned_in_case,
    with_views,
)
from lungdet.models.detectors.case_windows import (
    CaseWindow,
    case_windows,
    crop_window,
    even_batches,
    window_targets,
    windows_near,
)
from lungdet.models.detectors.protocols import (
    CandidateScorer,
    Ensemble,
    OwningDetector,
    ValidatedDetector,
    WindowDetector,
)
from lungdet.models.task_modules import DetectionPostProcessor
from lungdet.models.views import (
    FLIPS,
    flip_boxes,
    flip_detections,
    flip_images,
)
from lungdet.ops import (
    bfloat16_autocast,
    box_centers,
    centers_in_boxes,
    grow_boxes,
)


class CasePredictor:
    """Run a detector on the windows of a case and merge the detections.

    A case is split into overlapping windows of the size of training crops.
    Each detection belongs to the window whose core contains its centre (that
    of its proposal, if it has one). Within ``SEAM`` voxels of a core's face
    both windows may keep it, and NMS over the case keeps the better one. Only
    a few windows are on the device at a time, so memory grows by no more than
    the case.

    Args:
        detector: Predicts windows. It may also be an ``OwningDetector``, a
            ``ValidatedDetector`` and a ``CandidateScorer``; ``NoduleNet`` is
            all of them.
        preprocessor: Provides the device, the HU window and the padding.
        post_processor: Selects the detections of the case (NMS, cap).
        window: Size (z, y, x) of a window in voxels; None for the whole case
            at once, as published.
        overlap: Voxels by which neighbouring windows overlap.
        windows_at_once: Largest number of windows in a batch. On one thread
            of a CPU, float32 convolutions of a single small image are up to
            seven times slower.
        min_inside: Smallest distance in voxels of a nodule's centre from a
            window's faces to be a target of validation, as in ``LoadCrop``.
        flips: Number of views of each window: 1, 2 (mirrored along x) or 8
            (mirrored along every combination of axes). An ``OwningDetector``
            averages them; of another, the detections of the views are merged.
            Scores of candidates are averaged; validation uses one view.
        max_voxels: If set, windows are fitted to the case, with at most this
            many voxels in a batch; ``window`` and
            ``windows_at_once`` are then ignored.
        only_lungs: If the sample has a lung mask, skip windows farther from
            the lungs than a detection may be.
        bf16: Run the detector under autocast to bfloat16, if the device
            supports it.
        box_border: Voxels by which the detector's boxes are longer than the
            nodules; removed after NMS.

    Raises:
        ConfigError: ``flips`` is not in ``FLIPS``.
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
        flips: int = 1,
        max_voxels: int | None = None,
        only_lungs: bool = True,
        bf16: bool = False,
        box_border: float = 0.0,
    ) -> None:
        if flips not in FLIPS:
            raise ConfigError(
                f'test_cfg.flips: {flips}; choose one of {sorted(FLIPS)}.'
            )
        self.detector = detector
        self.preprocessor = preprocessor
        self.post_processor = post_processor
        self.window = window
        self.overlap = overlap
        self.windows_at_once = windows_at_once
        self.min_inside = min_inside
        self.flips = FLIPS[flips]
        self.max_voxels = max_voxels
        self.only_lungs = only_lungs
        self.bf16 = bf16
        self.box_border = box_border

    def fill_all(
        self,
        cases: Sequence[Tensor],
        samples: list[DetDataSample] | None = None,
    ) -> list[DetDataSample]:
        """Fill the samples of several cases, one after another; see ``fill``.

        Args:
            cases: Cases (1, D, H, W) in HU.
            samples: A sample per case, or None for new ones.
        """
        samples = samples or [DetDataSample() for _ in cases]
        for case, sample in zip(cases, samples):
            self.fill(case, sample)
        return samples

    def fill(self, case: Tensor, sample: DetDataSample) -> None:
        """Set ``pred_instances`` of a case's sample.

        If the sample has ``candidates``, they are scored: ``scores`` and
        ``rcnn_scores``. If it has targets, it also gets ``losses``, unless no
        window contains a nodule.

        Args:
            case: (1, D, H, W) in HU, on any device.
            sample: Sample of the case; changed.
        """
        if 'candidates' in sample:
            boxes = sample.candidates.bboxes.cpu()
            scores = self.score(case, boxes)
            detections = InstanceData(
                bboxes=boxes, scores=scores, rcnn_scores=scores
            )
        elif 'gt_instances' in sample:
            losses, detections = self.loss_and_predict(case, sample)
            if losses:
                sample.losses = losses
        else:
            detections = self.predict(case, sample)
        sample.pred_instances = detections

    @torch.no_grad()
    def predict(
        self, case: Tensor, sample: DetDataSample | None = None
    ) -> InstanceData:
        """Detections of a case.

        Args:
            case: (1, D, H, W) in HU, on any device.
            sample: Sample of the case. If it has ``lungs``, boxes far from
                them are dropped before NMS and the cap on detections.

        Returns:
            ``bboxes`` (K, 6), ``scores`` (K,), ``mask_boxes`` (K, 6) and
            ``masks`` (list of bool arrays or None), on the CPU, by descending
            score, and the other fields that ``predict_window`` returns.
            The metainfo ``windows`` is (windows run, windows of the case).
        """
        parts: list[InstanceData] = []
        chosen = self.windows(case, sample)
        for windows, images in self._batches(case, chosen):
            with self._precision(images):
                for detections in self._predict_views(windows, images):
                    parts += map(owned_in_case, detections, windows)
        detections = self._merge(parts, case, sample, self._num_views)
        detections.set_metainfo(
            {'windows': (len(chosen), len(self.windows(case)))}
        )
        return detections

    @torch.no_grad()
    def loss_and_predict(
        self, case: Tensor, sample: DetDataSample
    ) -> tuple[dict[str, float], InstanceData]:
        """Validation losses and detections of a case with targets.

        Args:
            case: (1, D, H, W) in HU, on any device.
            sample: Sample with targets in voxels of the case; not changed.

        Returns:
            The losses, each averaged over the windows that contain a nodule,
            as training crops do (empty if there are none); and the detections.

        Raises:
            ConfigError: The detector is not a ``ValidatedDetector``.
        """
        detector = self.detector
        if not isinstance(detector, ValidatedDetector):
            raise ConfigError(
                f'{type(detector).__name__}: has no loss_and_predict_window, '
                'which cases with targets need; add it, or leave out the '
                'targets (LoadCase without targets=True).'
            )
        losses: list[dict[str, Tensor]] = []
        parts: list[InstanceData] = []
        for windows, images in self._batches(case, self.windows(case)):
            targets = [
                window_targets(sample, window, self.min_inside)
                for window in windows
            ]
            with self._precision(images):
                window_losses, detections = detector.loss_and_predict_window(
                    images, targets, cores(windows)
                )
            losses += window_losses
            parts += map(owned_in_case, detections, windows)
        names = losses[0] if losses else {}
        means = {
            name: float(torch.stack([loss[name] for loss in losses]).mean())
            for name in names
        }
        return means, self._merge(parts, case, sample)

    @torch.no_grad()
    def score(self, case: Tensor, boxes: Tensor) -> Tensor:
        """Probabilities (K,) of given boxes (K, 6) in a case (1, D, H, W).

        Only windows whose core contains the centre of a box are computed. A
        box centred outside the case gets 0.

        Raises:
            ConfigError: The detector is not a ``CandidateScorer``.
        """
        detector = self.detector
        if not isinstance(detector, CandidateScorer):
            raise ConfigError(
                f'{type(detector).__name__}: has no score_window, so it '
                'cannot score given candidates; add it, or leave out '
                'LoadCandidates.'
            )
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
            with self._precision(images):
                window_scores = self._score_views(images, of_windows)
            for window, window_score in zip(windows, window_scores):
                scores[in_core[window]] = window_score
        return scores

    def windows(
        self, case: Tensor, sample: DetDataSample | None = None
    ) -> list[CaseWindow]:
        """The windows of a case that may contain a detection to keep.

        Args:
            case: (1, D, H, W); only its shape is used.
            sample: Sample of the case. Without it, or if it has no lungs, all
                windows are returned.
        """
        windows = case_windows(
            case.shape[1:], self.window, self.overlap, self.max_voxels
        )
        if sample is None or 'lungs' not in sample or not self.only_lungs:
            return windows
        near = windows_near(windows, sample.lungs, sample.lung_margin)
        return near or windows

    def _batches(
        self, case: Tensor, windows: list[CaseWindow]
    ) -> Iterator[tuple[list[CaseWindow], Tensor]]:
        """Batches of windows, with their images on the device."""
        prep, at_once = self.preprocessor, self.windows_at_once
        if self.max_voxels is not None and windows:
            at_once = self.max_voxels // math.prod(windows[0].size)
        for batch in even_batches(windows, at_once):
            crops = [crop_window(case, w, prep.pad_hu) for w in batch]
            yield batch, prep.apply_window(torch.stack(crops).to(prep.device))

    def _precision(self, images: Tensor) -> torch.autocast:
        return bfloat16_autocast(images.device.type, self.bf16)

    @property
    def _num_views(self) -> int:
        """Number of models and views whose detections are merged."""
        detector = self.detector
        models = detector.num_models if isinstance(detector, Ensemble) else 1
        averages = isinstance(detector, OwningDetector)
        return models if averages else models * len(self.flips)

    def _predict_views(
        self, windows: list[CaseWindow], images: Tensor
    ) -> Iterator[list[InstanceData]]:
        """Detections in voxels of the windows: of all views together, or of
        each."""
        if isinstance(self.detector, OwningDetector):
            detections = self.detector.predict_owned(
                images, cores(windows), self.flips
            )
            yield [with_views(d, 0) for d in detections]
            return
        shape = images.shape[2:]
        models = self._num_views // len(self.flips)
        for view, axes in enumerate(self.flips):
            detections = self.detector.predict_window(
                flip_images(images, axes)
            )
            yield [
                with_views(flip_detections(d, axes, shape), view * models)
                for d in detections
            ]

    def _score_views(
        self, images: Tensor, boxes: list[Tensor]
    ) -> list[Tensor]:
        """Probabilities (K,) of the boxes of each window, averaged over views.

        Args:
            images: (B, 1, d, h, w).
            boxes: Boxes (K, 6) of each window.
        """
        assert isinstance(self.detector, CandidateScorer)
        shape = images.shape[2:]
        views = [
            self.detector.score_window(
                flip_images(images, axes),
                [flip_boxes(b, axes, shape) for b in boxes],
            )
            for axes in self.flips
        ]
        return [torch.stack(scores).mean(0) for scores in zip(*views)]

    def _merge(
        self,
        parts: list[InstanceData],
        case: Tensor,
        sample: DetDataSample | None,
        num_views: int = 1,
    ) -> InstanceData:
        """Detections of all windows inside the case, after post-processing."""
        detections = InstanceData.cat(parts)
        end = torch.tensor(case.shape[1:])
        inside = (box_centers(detections.bboxes) < end).all(1)
        detections = detections[inside]
        if sample is not None and 'lungs' in sample:
            detections = near_lungs(detections, sample)
        detections = self.post_processor.select(detections, num_views)
        detections.pop('views', None)
        if self.box_border:
            shown = grow_boxes(detections.bboxes, -self.box_border)
            detections.bboxes = shown
        # a padded window may extend beyond the case
        high = torch.minimum(detections.mask_boxes[:, 3:], end)
        detections.mask_boxes[:, 3:] = high
        sides = (high - detections.mask_boxes[:, :3]).clamp(min=0).tolist()
        detections.masks = [
            mask if mask is None else mask[:d, :h, :w].numpy()
            for mask, (d, h, w) in zip(detections.masks, sides)
        ]
        return detections
