"""What is asked of a detector, and what happens where it is missing."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData

from lungdet.errors import ConfigError
from lungdet.models.detectors.protocols import (
    CandidateScorer,
    OwningDetector,
    ValidatedDetector,
)
from tests.models.nets import CASE, NODULE, narrow_net, predictor_of, sample_of


class WindowsAlone:
    """All that a detector needs to be run on a case."""

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        return [
            InstanceData(
                bboxes=torch.tensor([[8.0, 8, 8, 12, 12, 12]]),
                scores=torch.ones(1),
                mask_boxes=torch.zeros(1, 6, dtype=torch.long),
                masks=[None],
            )
            for _ in images
        ]


def test_nodulenet_offers_everything() -> None:
    net = narrow_net()

    for protocol in (OwningDetector, ValidatedDetector, CandidateScorer):
        assert isinstance(net, protocol)
        assert not isinstance(WindowsAlone(), protocol)


def test_what_a_detector_cannot_do_is_named() -> None:
    predictor = predictor_of(WindowsAlone())

    assert len(predictor.predict(CASE)) == 2  # one of each window
    with pytest.raises(ConfigError, match='WindowsAlone.*score_window'):
        predictor.score(CASE, torch.zeros(1, 6))
    with pytest.raises(ConfigError, match='loss_and_predict_window.*targets'):
        predictor.loss_and_predict(CASE, sample_of([NODULE]))
