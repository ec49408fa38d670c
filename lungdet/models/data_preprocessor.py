"""From HU to the input of the network, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from lungdet.errors import ConfigError
from lungdet.hounsfield import LUNG_WINDOW, Window
from lungdet.registry import MODELS


@MODELS.register_module()
class CTDataPreprocessor(BaseDataPreprocessor):
    """Stack equal crops and map a HU window to the network's range.

    Args:
        window: HU mapped to the ends of ``out_range``; clipped outside.
        out_range: Network range.
        pad_hu: HU outside the volume; the published 170 of 0..255 is 0 HU.
    """

    def __init__(
        self,
        window: Sequence[float] = LUNG_WINDOW,
        out_range: Sequence[float] = (-1, 1),
        pad_hu: int = 0,
    ) -> None:
        super().__init__(non_blocking=True)
        self.window = Window(float(window[0]), float(window[1]))
        self.out_range = (float(out_range[0]), float(out_range[1]))
        self.pad_hu = pad_hu

    def apply_window(self, hu: Tensor) -> Tensor:
        """HU of any type to float32 in ``out_range``."""
        return self.to_network(self.window.normalize(hu))

    def to_network(self, intensity: Tensor) -> Tensor:
        """Normalized intensity, in [0, 1], to ``out_range``."""
        first, last = self.out_range
        return (intensity * (last - first)).add_(first)

    def forward(self, data: Any, training: bool = False) -> dict:
        """Turn collated lists into a batch.

        Crops of one size become one windowed tensor (B, 1, D, H, W) on the
        device. In evaluation whole cases stay int16 HU and are not moved to
        the device; the detector cuts windows from them. Samples are not moved:
        heads copy what they need, and match boxes on the host.

        Raises:
            ValueError: Crops of different sizes in training.
        """
        inputs = list(data['inputs'])
        samples = data.get('data_samples')
        if not training:
            return {'inputs': inputs, 'data_samples': samples}
        shapes = {tuple(crop.shape) for crop in inputs}
        if len(shapes) > 1:
            raise ValueError(
                f'batch: crops of different sizes {sorted(shapes)} cannot be '
                'stacked; use one crop size in the pipeline.'
            )
        stacked = torch.stack(
            [crop.to(self.device, non_blocking=True) for crop in inputs]
        )
        return {'inputs': self.apply_window(stacked), 'data_samples': samples}


@MODELS.register_module()
class RestorationPreprocessor(CTDataPreprocessor):
    """Stack the pairs of pre-training; the HU window is the detector's.

    Distortions are defined on [0, 1], so the crops arrive as normalized
    intensity; the model scales them for the network by ``to_network``.
    """

    def forward(self, data: Any, training: bool = False) -> dict:
        """Turn collated lists into a batch.

        Returns:
            Four tensors (B, 1, D, H, W) on the device: ``inputs`` and
            ``targets``, the corrupted and the untouched intensity, float32,
            ``masked`` and ``lungs``, the voxels that are hidden and those of
            the lungs, boolean; and the ``data_samples``.

        Raises:
            ConfigError: The crops were scaled with another window.
        """
        samples = data['data_samples']
        for sample in samples:
            if tuple(sample.window) != self.window:
                raise ConfigError(
                    f'{sample.sample_key}: the crop was scaled with the '
                    f'window {tuple(sample.window)} HU, the model has '
                    f'{tuple(self.window)}; give both the same.'
                )
        batch = {
            name: torch.stack(list(data[name])).to(
                self.device, non_blocking=True
            )
            for name in ('inputs', 'targets', 'masked', 'lungs')
        }
        return {**batch, 'data_samples': self.cast_data(samples)}
