"""Pre-training by restoring masked blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.ssl.genesis import GenesisPretrainer
from lungdet.registry import MODELS

FILLS = ('mean', 'zero', 'noise')


@MODELS.register_module()
class MaskedAutoencoder(GenesisPretrainer):
    """Hide blocks of a fixed grid and restore them; the loss is computed on
    hidden blocks only.

    The hidden blocks of a crop depend on its sample's ``mask_seed``, so the
    sample key determines them, and validation always uses the same ones.

    Args:
        *args: As in ``GenesisPretrainer``.
        block: Side of a block in voxels; must divide the crop's sides.
        mask_ratio: Fraction of the blocks to hide,
            ``int(mask_ratio * blocks)``.
        fill: Input of the network in hidden blocks: ``'mean'`` of the data,
            ``'zero'`` (the lower end of the HU window, air), ``'noise'``
            uniform in [0, 1], or a normalized intensity.
        loss: Config of a ``RestorationLoss``.
        **kwargs: As in ``GenesisPretrainer``.

    Raises:
        ConfigError: ``mask_ratio`` or ``fill`` is out of range, or
            ``loss_on`` is given. In ``forward``: the sides are not multiples
            of ``block``, or no block is hidden.

    Source: Wald et al. 2025 (arXiv 2410.23132), without sparse convolution.
    """

    def __init__(
        self,
        *args: Any,
        block: int = 16,
        mask_ratio: float = 0.75,
        fill: str | float = 'mean',
        loss: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if 'loss_on' in kwargs:
            raise ConfigError(
                f'MaskedAutoencoder: loss_on={kwargs["loss_on"]!r} cannot be '
                'chosen, the loss is that of the hidden blocks. Leave it out.'
            )
        loss = loss or {'type': 'MSELoss'}
        super().__init__(*args, loss=loss, loss_on='masked', **kwargs)
        if not 0 < mask_ratio < 1:
            raise ConfigError(
                f'MaskedAutoencoder: mask_ratio={mask_ratio} is not between '
                '0 and 1.'
            )
        if fill not in FILLS and not (
            isinstance(fill, float | int) and 0 <= fill <= 1
        ):
            raise ConfigError(
                f'MaskedAutoencoder: fill={fill!r}; choose one of {FILLS} or '
                'a normalized intensity in [0, 1].'
            )
        self.block = block
        self.mask_ratio = mask_ratio
        self.fill = fill

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor | None = None,
        masked: Tensor | None = None,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
        lungs: Tensor | None = None,
    ) -> Any:
        """As in ``GenesisPretrainer``, but except in ``'tensor'`` mode,
        ``inputs`` are replaced by the targets with hidden blocks."""
        if mode == 'tensor':
            return super().forward(inputs)
        assert targets is not None and data_samples is not None
        inputs, masked = self.hide(targets, data_samples)
        return super().forward(
            inputs, targets, masked, data_samples, mode, lungs
        )

    def predict(
        self,
        inputs: Tensor,
        targets: Tensor,
        masked: Tensor,
        data_samples: list[DetDataSample],
    ) -> list[DetDataSample]:
        """As in ``GenesisPretrainer``; sets ``painting`` to ``'hidden'``."""
        samples = super().predict(inputs, targets, masked, data_samples)
        for sample in samples:
            sample.set_metainfo({'painting': 'hidden'})
        return samples

    def hide(
        self, targets: Tensor, data_samples: list[DetDataSample]
    ) -> tuple[Tensor, Tensor]:
        """Hide blocks of crops.

        Args:
            targets: (B, 1, D, H, W) in [0, 1]; not changed.
            data_samples: One per crop, with ``mask_seed``; not changed.

        Returns:
            The crops with filled blocks, and a boolean mask of the hidden
            voxels; same shape as ``targets``.

        Raises:
            ConfigError: As in ``draw_mask``.
        """
        inputs, masked = targets.clone(), []
        for crop, sample in zip(inputs, data_samples):
            rng = np.random.default_rng(sample.mask_seed)
            hidden = self.draw_mask(rng, crop.shape[1:]).to(crop.device)
            crop[0, hidden] = self._filling(rng, int(hidden.sum())).to(crop)
            masked.append(hidden)
        return inputs, torch.stack(masked)[:, None]

    def draw_mask(
        self, rng: np.random.Generator, shape: Sequence[int]
    ) -> Tensor:
        """Draw the hidden voxels of a crop.

        Args:
            rng: Random generator.
            shape: Voxels (D, H, W) of the crop.

        Returns:
            Boolean mask (D, H, W).

        Raises:
            ConfigError: A side is not a multiple of ``block``, or
                ``mask_ratio`` of the blocks is less than one.
        """
        if any(side % self.block for side in shape):
            raise ConfigError(
                f'MaskedAutoencoder: sides {tuple(shape)} are not multiples '
                f'of block={self.block}; change the crop or the block.'
            )
        grid = [side // self.block for side in shape]
        num = int(np.prod(grid))
        num_hidden = int(self.mask_ratio * num)
        if not num_hidden:
            raise ConfigError(
                f'MaskedAutoencoder: mask_ratio={self.mask_ratio} of {num} '
                'blocks hides none; use a larger crop or a smaller block.'
            )
        blocks = torch.zeros(num, dtype=torch.bool)
        blocks[rng.permutation(num)[:num_hidden]] = True
        mask = blocks.reshape(grid)
        for axis in range(3):
            mask = mask.repeat_interleave(self.block, axis)
        return mask

    def _filling(self, rng: np.random.Generator, num: int) -> Tensor:
        if self.fill == 'mean':
            return self.data_mean
        if self.fill == 'noise':
            return torch.from_numpy(rng.random(num, dtype=np.float32))
        return torch.tensor(0.0 if self.fill == 'zero' else self.fill)
