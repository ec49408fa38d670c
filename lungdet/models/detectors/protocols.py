"""What a detector offers for inference on whole cases.

``CasePredictor`` needs a ``WindowDetector``; the others are optional. It calls
them without gradients, and under autocast if it is set to bfloat16.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.models.views import Flips


class WindowDetector(Protocol):
    """What a detector needs for inference on whole cases."""

    def predict_window(self, images: Tensor) -> list[InstanceData]:
        """Detections of windows, in their voxels, on the CPU.

        Args:
            images: (B, 1, d, h, w), as the preprocessor makes them.

        Returns:
            For each window ``bboxes`` (K, 6), ``scores`` (K,), ``mask_boxes``
            (K, 6) long and ``masks``, bool tensors or None; if boxes are
            refined, also ``proposals`` (K, 6) that they were refined from.
        """
        ...


@runtime_checkable
class OwningDetector(Protocol):
    """A detector that averages mirrored views, and saves work on what belongs
    to another window.

    This is optional. What it returns in place of ``predict_window`` is
    filtered anyway. Of another detector the detections on each view are
    merged.
    """

    def predict_owned(
        self, images: Tensor, cores: Tensor, flips: Flips
    ) -> list[InstanceData]:
        """``predict_window`` without what is centred outside of ``cores``.

        Args:
            images: (B, 1, d, h, w).
            cores: (B, 6) boxes in each window's voxels; a side without a
                neighbour is infinite.
            flips: The axes of each view, 0, 1, 2 = z, y, x, along which the
                windows are mirrored; what is computed on the views is
                averaged.
        """
        ...


@runtime_checkable
class Ensemble(Protocol):
    """A detector that returns the detections of several models.

    Each detection has its model's number, from 0, in ``models`` (K,) long.
    """

    @property
    def num_models(self) -> int:
        """Number of models."""
        ...


@runtime_checkable
class ValidatedDetector(Protocol):
    """A detector that has losses; needed only by ``loss_and_predict``."""

    def loss_and_predict_window(
        self, images: Tensor, targets: list[DetDataSample], cores: Tensor
    ) -> tuple[list[dict[str, Tensor]], list[InstanceData]]:
        """Losses of each window that holds a nodule, and detections.

        Args:
            images: (B, 1, d, h, w).
            targets: Targets of each window, in its voxels.
            cores: (B, 6), as for ``predict_owned``.
        """
        ...


@runtime_checkable
class CandidateScorer(Protocol):
    """A detector that scores given boxes; needed only by ``score``."""

    def score_window(
        self, images: Tensor, boxes: list[Tensor]
    ) -> list[Tensor]:
        """Probabilities (K,) of given boxes (K, 6) of each window.

        Args:
            images: (B, 1, d, h, w).
            boxes: Boxes of each window, in its voxels, on the images' device.
        """
        ...
