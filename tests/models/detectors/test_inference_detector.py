from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.detectors.case_predictor import CasePredictor
from lungdet.models.detectors.inference_detector import InferenceDetector
from tests.models.nets import predictor_of


class Bright(InferenceDetector):
    """A box in each window, with the mean of the window as its score."""

    not_trained = 'it knows all; use it as it is'

    def case_predictor(self) -> CasePredictor:
        return predictor_of(self, window=None)

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        return [
            InstanceData(
                bboxes=torch.tensor([[2.0, 2, 2, 6, 6, 6]]),
                scores=image.mean()[None],
                rpn_scores=image.mean()[None],
                rcnn_scores=image.mean()[None],
                masks=[None],
                mask_boxes=torch.zeros(1, 6, dtype=torch.long),
            )
            for image in images
        ]


def test_it_detects_and_does_not_train() -> None:
    detector = Bright()
    cases = [
        torch.full((1, 8, 8, 8), value, dtype=torch.int16)
        for value in (-400, -900)
    ]

    samples = detector(cases, [DetDataSample(), DetDataSample()])

    scores = [sample.pred_instances.scores.item() for sample in samples]
    assert scores[0] > scores[1]
    assert detector.predict_case(cases[1]).scores.item() == scores[1]
    with pytest.raises(ConfigError, match="Bright: mode 'loss', but it knows"):
        detector(cases, mode='loss')
