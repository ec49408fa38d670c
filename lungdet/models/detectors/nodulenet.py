"""NoduleNet: proposals, false-positive reduction and masks in one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import MIN_INSIDE, DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.defaults import with_defaults
from lungdet.models.detectors.case_predictor import CasePredictor
from lungdet.models.detectors.case_windows import warn_of_pooling
from lungdet.models.detectors.protocols import WindowDetector
from lungdet.models.feature_maps import FeatureMaps
from lungdet.models.roi_heads.nodule_roi_head import on_host
from lungdet.models.views import Flips, View, flip_images
from lungdet.ops import check_finite, grow_boxes
from lungdet.registry import MODELS, TASK_UTILS

TRAIN_CFG: dict[str, Any] = {
    # (z, y, x) of the training crops; load_config takes it from PlaceCrop
    'crop_size': None,
    'rpn': None,  # TRAIN_CFG of the rpn_head
    'rcnn': None,  # of the roi_head
    'mask': None,  # of the roi_head
}
TEST_CFG: dict[str, Any] = {
    'window': (128, 128, 128),  # these eight: see CasePredictor
    'overlap': 32,
    'windows_at_once': 4,
    'max_voxels': None,
    'only_lungs': True,
    'min_inside': MIN_INSIDE,  # load_config takes it from LoadCrop
    'flips': 1,
    'bf16': False,
    # TEST_CFG of the rpn_head; the bbox_head has none: it refines every
    # proposal, and what its scores and boxes decide is in postprocess
    'rpn': None,
    'mask': None,  # of the roi_head
    'postprocess': {'type': 'DetectionPostProcessor'},
    # threshold of `infer`: the score at 1 FP per scan on other scans; None if
    # it was not read from a curve
    'score_thr': None,
    # the same at other numbers of FP per scan, such as {'0.25': 0.8}
    'score_thrs': None,
}


@MODELS.register_module()
class NoduleNet(BaseModel):
    """Backbone, RPN head and RoI head.

    Args:
        backbone: Dict of a backbone returning (out1, out2, comb2), see
            ``FeatureMaps``.
        rpn_head: Dict of the RPN head.
        roi_head: Dict of the RoI head, None for the RPN alone.
        data_preprocessor: Dict of the preprocessor.
        train_cfg: Updates of ``TRAIN_CFG``; ``rpn`` goes to the
            ``rpn_head``, ``rcnn`` and ``mask`` to the ``roi_head``.
        test_cfg: Updates of ``TEST_CFG``; likewise, except ``rcnn``, which has
            no values of its own: they are in ``postprocess``.
        channels_last: Memory format of the backbone; about twice as fast
            with bfloat16 on CPUs that have it.
        box_border: Voxels by which the network's boxes are longer than the
            nodules: targets and given candidates are grown, and detections
            shrunk after the last NMS. Published: 8, without shrinking.
        init_cfg: mmengine's.

    Source: NoduleNet (Tang et al. 2019, arXiv 1907.11320).
    """

    def __init__(
        self,
        backbone: dict,
        rpn_head: dict,
        *,
        roi_head: dict | None = None,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        channels_last: bool = False,
        box_border: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            MODELS.build(data_preprocessor or {'type': 'CTDataPreprocessor'}),
            init_cfg,
        )
        self.train_cfg = train = with_defaults(
            train_cfg, TRAIN_CFG, 'train_cfg'
        )
        self.test_cfg = test = with_defaults(test_cfg, TEST_CFG, 'test_cfg')
        self.backbone = MODELS.build(backbone)
        self.rpn_head = MODELS.build(
            {**rpn_head, 'train_cfg': train['rpn'], 'test_cfg': test['rpn']}
        )
        self.roi_head: Any = None
        if roi_head is not None:
            of_roi_head = {
                'train_cfg': {'rcnn': train['rcnn'], 'mask': train['mask']},
                'test_cfg': {'mask': test['mask']},
            }
            self.roi_head = MODELS.build({**roi_head, **of_roi_head})
        self.post_processor = TASK_UTILS.build(test['postprocess'])
        self.box_border = box_border
        self.channels_last = False
        if channels_last:
            self.set_channels_last(True)

    def set_channels_last(self, channels_last: bool) -> None:
        """Set the memory format of the backbone's weights and input."""
        self.channels_last = channels_last
        self.backbone.to(
            memory_format=torch.channels_last_3d
            if channels_last
            else torch.contiguous_format
        )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 1; heads start at their ``start_epoch``."""
        if self.roi_head is not None:
            self.roi_head.set_epoch(epoch)

    def follow_training(self, train_cfg: Mapping[str, Any]) -> None:
        """Take over how the weights were trained: the size of the crops, which
        windows of plugins that pool are compared with, and the epochs at which
        the heads started.

        Args:
            train_cfg: The detector's in that training.
        """
        if size := train_cfg.get('crop_size'):
            self.train_cfg = {**self.train_cfg, 'crop_size': tuple(size)}
        if self.roi_head is not None:
            self.roi_head.follow_training(train_cfg)

    @property
    def bbox_started(self) -> bool:
        """Whether there is a RoI head that has started training."""
        return self.roi_head is not None and self.roi_head.bbox_started

    @property
    def mask_started(self) -> bool:
        """Whether there is a mask head that has started training."""
        return self.roi_head is not None and self.roi_head.mask_started

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
                targets; ``'tensor'`` the feature maps.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            samples = data_samples or [DetDataSample() for _ in inputs]
            return self.predict(inputs, samples)
        return self.extract_feat(inputs)

    def extract_feat(self, images: Tensor) -> FeatureMaps:
        """Feature maps of windowed crops (B, 1, D, H, W).

        Returns:
            float32 (or the input's type) in the shapes of ``FeatureMaps``.
        """
        x = images
        if self.channels_last:
            x = images.contiguous(memory_format=torch.channels_last_3d)
        return FeatureMaps(images, *map(_full_precision, self.backbone(x)))

    def extract_finite_feat(self, images: Tensor) -> FeatureMaps:
        """``extract_feat``, checked.

        Raises:
            DivergenceError: A value is not finite.
        """
        feats = self.extract_feat(images)
        check_finite('features of the backbone', *feats[1:])
        return feats

    def loss(
        self, images: Tensor, samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the heads that have started, scalars by their names.

        Args:
            images: Windowed crops (B, 1, D, H, W).
            samples: Targets of each crop.
        """
        return self.loss_by_feat(self.extract_feat(images), samples)

    def loss_by_feat(
        self, feats: FeatureMaps, samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """``loss`` from the feature maps of B crops.

        Heads, targets and losses run in float32, also under autocast.
        """
        samples = [self._with_border(sample) for sample in samples]
        with feats.full_precision():
            if not self.bbox_started:
                return self.rpn_head.loss(feats, samples)
            losses, proposals = self.rpn_head.loss_and_predict(feats, samples)
            return losses | self.roi_head.loss(feats, proposals, samples)

    def _with_border(self, sample: DetDataSample) -> DetDataSample:
        """A sample whose nodules have boxes with the network's border."""
        if not self.box_border:
            return sample
        grown, gt = sample.new(), sample.gt_instances.new()
        gt.bboxes = grow_boxes(gt.bboxes, self.box_border)
        grown.gt_instances = gt
        return grown

    def predict(
        self, cases: list[Tensor], samples: list[DetDataSample]
    ) -> list[DetDataSample]:
        """Fill the samples of whole cases, see ``CasePredictor.fill``.

        Args:
            cases: (1, D, H, W) HU each.
            samples: One for each case.
        """
        return self.case_predictor().fill_all(cases, samples)

    def predict_case(
        self, case: Tensor, sample: DetDataSample | None = None
    ) -> InstanceData:
        """Detections of a case (1, D, H, W), see ``CasePredictor.predict``."""
        return self.case_predictor().predict(case, sample)

    def case_predictor(
        self, detector: WindowDetector | None = None
    ) -> CasePredictor:
        """Inference of whole cases by ``test_cfg``.

        Args:
            detector: Predicts the windows; None for this one.

        Warns:
            UserWarning: A plugin pools over space and the windows are not of
                the training crops' size.
        """
        cfg = self.test_cfg
        fixed = cfg['window'] if cfg['max_voxels'] is None else None
        warn_of_pooling(self.backbone, fixed, self.train_cfg['crop_size'])
        return CasePredictor(
            detector or self,
            self.data_preprocessor,
            self.post_processor,
            window=cfg['window'],
            overlap=cfg['overlap'],
            windows_at_once=cfg['windows_at_once'],
            min_inside=cfg['min_inside'],
            flips=cfg['flips'],
            max_voxels=cfg['max_voxels'],
            only_lungs=cfg['only_lungs'],
            bf16=cfg['bf16'],
            box_border=self.box_border,
        )

    def predict_window(self, images: Tensor) -> list[InstanceData]:
        """See ``WindowDetector``."""
        return self.predict_views([View(self.extract_finite_feat(images))])

    def predict_owned(
        self, images: Tensor, cores: Tensor, flips: Flips
    ) -> list[InstanceData]:
        """See ``OwningDetector``; only proposals in ``cores`` are pooled."""
        views = [
            View(self.extract_finite_feat(flip_images(images, axes)), axes)
            for axes in flips
        ]
        return self.predict_views(views, cores)

    def loss_and_predict_window(
        self, images: Tensor, targets: list[DetDataSample], cores: Tensor
    ) -> tuple[list[dict[str, Tensor]], list[InstanceData]]:
        """See ``ValidatedDetector``; one pass through the backbone."""
        feats = self.extract_finite_feat(images)
        losses = [
            self.loss_by_feat(feats.of_image(index), [target])
            for index, target in enumerate(targets)
            if len(target.gt_instances)
        ]
        return losses, self.predict_views([View(feats)], cores)

    def score_window(
        self, images: Tensor, boxes: list[Tensor]
    ) -> list[Tensor]:
        """See ``CandidateScorer``; only the RoI head scores.

        Raises:
            ConfigError: The RoI head is absent or has not started.
        """
        if not self.bbox_started:
            raise ConfigError(
                'LoadCandidates: this model has no RoI head, or it has not '
                'started at its epoch; only the RoI head can score given '
                'candidates. Test a checkpoint of a later epoch.'
            )
        feats = self.extract_finite_feat(images)
        proposals = [
            InstanceData(bboxes=grow_boxes(b, self.box_border)) for b in boxes
        ]
        with feats.full_precision():
            refined = self.roi_head.predict_bbox([View(feats)], proposals)
        return [result.scores.cpu() for result in refined]

    def predict_views(
        self, views: Sequence[View], cores: Tensor | None = None
    ) -> list[InstanceData]:
        """Detections of B windows, on the CPU.

        Args:
            views: Mirrored views of the windows.
            cores: (B, 6) boxes; only proposals centred in them are kept.
                None for all.
        """
        with views[0].feats.full_precision():
            proposals = self.rpn_head.predict(views, cores)
        return self.predict_by_proposals(views, proposals)

    def predict_by_proposals(
        self, views: Sequence[View], proposals: list[InstanceData]
    ) -> list[InstanceData]:
        """Detections from the proposals of B windows, on the CPU.

        Args:
            views: Mirrored views of the windows.
            proposals: The RPN's ``bboxes`` (K, 6) and ``scores`` (K,) of
                each.
        """
        with views[0].feats.full_precision():
            refined = [None] * len(proposals)
            if self.bbox_started:
                refined = self.roi_head.predict_bbox(views, proposals)
            detections = on_host(
                list(map(self.post_processor.fuse, proposals, refined))
            )
            if self.mask_started:
                detections = self.roi_head.predict_mask(views, detections)
        return detections


def _full_precision(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
