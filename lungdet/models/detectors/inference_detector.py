"""Detectors that are not trained."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.detectors.case_predictor import CasePredictor


class InferenceDetector(BaseModel):
    """Base class of detectors for inference only.

    Attributes:
        not_trained: Why it cannot be trained, and what to train instead; the
            end of an error message.
    """

    not_trained: str

    def case_predictor(self) -> CasePredictor:
        """Inference of whole cases."""
        raise NotImplementedError

    def forward(
        self,
        inputs: Any,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'predict',
    ) -> list[DetDataSample]:
        """Detect nodules in cases.

        Args:
            inputs: Cases (1, D, H, W) in HU.
            data_samples: A sample per case, or None for new ones.
            mode: ``'predict'``.

        Returns:
            The samples with ``pred_instances``.

        Raises:
            ConfigError: Another mode than ``'predict'``.
        """
        if mode != 'predict':
            raise ConfigError(
                f'{type(self).__name__}: mode {mode!r}, but '
                f'{self.not_trained}.'
            )
        return self.case_predictor().fill_all(inputs, data_samples)

    def predict_case(
        self, case: Tensor, sample: DetDataSample | None = None
    ) -> InstanceData:
        """Detections of a case (1, D, H, W), see ``CasePredictor.predict``."""
        return self.case_predictor().predict(case, sample)
