"""An ensemble of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.detectors.case_predictor import CasePredictor
from lungdet.models.detectors.inference_detector import InferenceDetector
from lungdet.models.detectors.nodulenet import NoduleNet
from lungdet.models.views import Flips
from lungdet.registry import MODELS


@MODELS.register_module()
class EnsembleDetector(InferenceDetector):
    """Several detectors whose detections of a case are merged.

    The ``test_cfg`` of the first member determines how a case is tiled and how
    detections are merged. An ensemble is for inference only; ``tools/test.py``
    builds it from several checkpoints.

    Args:
        members: Configs of the detectors; all take the same input.
        epochs: Epoch of each member's weights, from 1; heads that had not
            started by then are left out. None if all had started.
        init_cfg: mmengine's.

    Raises:
        ConfigError: There is no member, ``epochs`` has another length, or the
            members take different inputs.
    """

    not_trained = 'an ensemble is not trained; train its members'

    def __init__(
        self,
        members: Sequence[dict],
        epochs: Sequence[int] | None = None,
        *,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not members or (epochs and len(epochs) != len(members)):
            raise ConfigError(
                f'EnsembleDetector: {len(members)} members and the epochs '
                f'{epochs}; give at least one member, and one epoch for each.'
            )
        detectors: list[NoduleNet] = [MODELS.build(one) for one in members]
        for detector, epoch in zip(detectors, epochs or ()):
            detector.set_epoch(epoch)
        shared = {_shared_by_members(detector) for detector in detectors}
        if len(shared) > 1:
            raise ConfigError(
                'EnsembleDetector: members with '
                f'{" and ".join(map(str, sorted(shared)))}; only detectors '
                'with the same HU window, output range, pad_hu and box_border '
                'can be combined.'
            )
        self.members = nn.ModuleList(detectors)
        self.data_preprocessor = detectors[0].data_preprocessor

    @property
    def num_models(self) -> int:
        """See ``Ensemble`` of the detectors' protocols."""
        return len(self.members)

    def case_predictor(self) -> CasePredictor:
        """Inference of whole cases with the first member's ``test_cfg``."""
        first: Any = self.members[0]
        return first.case_predictor(self)

    def predict_window(self, images: Tensor) -> list[InstanceData]:
        """See ``WindowDetector``."""
        return _joined([m.predict_window(images) for m in self._detectors])

    def predict_owned(
        self, images: Tensor, cores: Tensor, flips: Flips
    ) -> list[InstanceData]:
        """See ``OwningDetector``."""
        return _joined(
            [m.predict_owned(images, cores, flips) for m in self._detectors]
        )

    def score_window(
        self, images: Tensor, boxes: list[Tensor]
    ) -> list[Tensor]:
        """See ``CandidateScorer``; returns the mean scores of the members."""
        scores = [m.score_window(images, boxes) for m in self._detectors]
        return [torch.stack(of_window).mean(0) for of_window in zip(*scores)]

    @property
    def _detectors(self) -> list[Any]:
        return list(self.members)


def _shared_by_members(detector: NoduleNet) -> tuple:
    """What whole-case inference takes from the first member."""
    prep = detector.data_preprocessor
    return (
        tuple(prep.window),
        tuple(prep.out_range),
        prep.pad_hu,
        detector.box_border,
    )


def _joined(by_model: list[list[InstanceData]]) -> list[InstanceData]:
    """Detections of all members for each window; ``models`` (K,) has the index
    of the member."""
    for number, of_model in enumerate(by_model):
        for detections in of_model:
            detections.models = torch.full((len(detections),), number)
    return [InstanceData.cat(list(parts)) for parts in zip(*by_model)]
