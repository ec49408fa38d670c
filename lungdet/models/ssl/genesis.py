"""Pre-training by restoring distorted crops."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn import functional as F

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.ops import bfloat16_autocast, check_finite
from lungdet.registry import MODELS

LOSS_ON = ('all', 'masked')


@MODELS.register_module()
class GenesisPretrainer(BaseModel):
    """The detector's backbone with a head that restores distorted crops.

    Crops are normalized intensity in [0, 1], the range of the head's sigmoid;
    the backbone's input is scaled to the detector's range.

    Args:
        backbone: Config of the detector's backbone, plugins included.
        head: Config of the restoration head.
        data_preprocessor: Config of the preprocessor, with the HU window.
        loss: Config of a ``RestorationLoss``: ``L1Loss`` as in the paper, or
            ``MSELoss`` as in the public code.
        loss_on: ``'all'`` voxels, or the ``'masked'`` ones that in- or
            out-painting replaced by noise.
        high_pass: Restore details only: output and original are compared
            after ``high_pass`` with a cube of this side, an odd number of
            voxels. None compares the volumes themselves.
        bright_weight: Weight in the loss of voxels in the lungs brighter than
            ``bright_hu``, such as vessels and nodules; other voxels have
            weight 1. Validation weights all voxels equally.
        bright_hu: Threshold in HU.
        test_cfg: ``bf16``: whether to validate in bfloat16.
        channels_last: Memory format of backbone and head; about twice as
            fast with bfloat16 on CPUs that have it.
        init_cfg: mmengine's.

    Raises:
        ConfigError: Unknown ``loss_on``, or an even ``high_pass``.

    Source: Models Genesis (Zhou et al. 2021), which compares all voxels alike.
    """

    data_mean: Tensor

    def __init__(
        self,
        backbone: dict,
        head: dict | None = None,
        *,
        data_preprocessor: dict | None = None,
        loss: dict | None = None,
        loss_on: str = 'all',
        high_pass: int | None = None,
        bright_weight: float = 1.0,
        bright_hu: float = -500.0,
        test_cfg: dict | None = None,
        channels_last: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            MODELS.build(
                data_preprocessor or {'type': 'RestorationPreprocessor'}
            ),
            init_cfg,
        )
        if loss_on not in LOSS_ON:
            raise ConfigError(
                f'{type(self).__name__}: loss_on={loss_on!r}; choose one of '
                f'{LOSS_ON}.'
            )
        if high_pass is not None and not high_pass % 2:
            raise ConfigError(
                f'{type(self).__name__}: high_pass={high_pass} is even, so '
                'the cube has no centre voxel; give an odd number.'
            )
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head or {'type': 'RestorationHead'})
        self.criterion = MODELS.build(loss or {'type': 'L1Loss'})
        self.loss_on = loss_on
        self.high_pass = high_pass
        self.bright_weight = bright_weight
        window = self.data_preprocessor.window
        self.bright = float(window.normalize(torch.tensor(bright_hu)))
        self.test_cfg = {'bf16': False, **(test_cfg or {})}
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last_3d)
        self.register_buffer('data_mean', torch.tensor(0.5))

    def set_data_mean(self, mean: float) -> None:
        """Make the mean of the crops, in [0, 1], the initial output."""
        self.data_mean.fill_(mean)
        self.head.set_mean(self.data_mean)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor | None = None,
        masked: Tensor | None = None,
        data_samples: list[DetDataSample] | None = None,
        mode: str = 'tensor',
        lungs: Tensor | None = None,
    ) -> Any:
        """Losses, predictions or restored crops.

        Args:
            inputs: Corrupted crops (B, 1, D, H, W) in [0, 1].
            targets: Original crops, same shape.
            masked: Boolean, same shape: voxels replaced by painting.
            data_samples: One per crop.
            mode: ``'loss'`` returns the loss, ``spread`` and ``rank``, see
                ``loss``; ``'predict'`` the samples with ``corrupted``,
                ``restored``, ``target`` and ``masked`` (D, H, W);
                ``'tensor'`` the restored crops (B, 1, D, H, W).
            lungs: Boolean, same shape; for ``bright_weight``.
        """
        if mode == 'tensor':
            return self.restore(inputs)
        assert targets is not None and masked is not None
        if mode == 'loss':
            return self.loss(inputs, targets, masked, lungs)
        return self.predict(inputs, targets, masked, data_samples or [])

    def restore(self, corrupted: Tensor) -> Tensor:
        """Restore corrupted crops; both are (B, 1, D, H, W) in [0, 1]."""
        return self.head(self.extract_feat(corrupted))

    def extract_feat(self, corrupted: Tensor) -> Tensor:
        """The features that are the input of the head.

        Args:
            corrupted: Crops (B, 1, D, H, W) in [0, 1].

        Returns:
            (B, C, D/4, H/4, W/4).
        """
        image = self.data_preprocessor.to_network(corrupted)
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last_3d)
        return self.backbone(image)[-1]

    def compared(self, volume: Tensor) -> Tensor:
        """The part of a volume (B, 1, D, H, W) in [0, 1] that the loss
        compares: its details or all of it; same shape and range."""
        if self.high_pass is None:
            return volume
        return 0.5 + high_pass(volume, self.high_pass) / 2

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        masked: Tensor,
        lungs: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The restoration loss, and two indicators of collapse.

        ``spread`` is the standard deviation of the output divided by that of
        the target; near 0 the output is constant whatever the input. ``rank``
        is the ``feature_rank`` of the features; near 1 all channels are
        redundant, a poor start for a detector.

        Args:
            inputs: Corrupted crops (B, 1, D, H, W) in [0, 1].
            targets: Original crops, same shape.
            masked: Boolean, same shape; the voxels that count with
                ``loss_on='masked'``.
            lungs: Boolean, same shape; required if ``bright_weight`` is not
                1.

        Returns:
            Three scalars: ``loss_restoration``, ``spread``, ``rank``.
        """
        features = self.extract_feat(inputs)
        restored = self.compared(self.head(features))
        original = self.compared(targets)
        weights = masked if self.loss_on == 'masked' else None
        if self.bright_weight != 1:
            assert lungs is not None
            bright = lungs & (targets > self.bright)
            factor = 1 + (self.bright_weight - 1) * bright
            weights = factor if weights is None else weights * factor
        spread = restored.detach().std() / original.std().clamp(min=1e-6)
        return {
            'loss_restoration': self.criterion(restored, original, weights),
            'spread': spread,
            'rank': feature_rank(features.detach()),
        }

    @torch.no_grad()
    def predict(
        self,
        inputs: Tensor,
        targets: Tensor,
        masked: Tensor,
        data_samples: list[DetDataSample],
    ) -> list[DetDataSample]:
        """Restore crops, and store the volumes that are compared in their
        samples.

        Args:
            inputs: Corrupted crops (B, 1, D, H, W) in [0, 1].
            targets: Original crops, same shape.
            masked: Boolean, same shape.
            data_samples: One per crop; each gets (D, H, W) volumes.
        """
        with bfloat16_autocast(inputs.device.type, self.test_cfg['bf16']):
            restored = self.restore(inputs)
        check_finite('restored crops', restored)
        inputs, restored, targets = map(
            self.compared, (inputs, restored, targets)
        )
        for k, sample in enumerate(data_samples):
            sample.corrupted = inputs[k, 0]
            sample.restored = restored[k, 0]
            sample.target = targets[k, 0]
            sample.masked = masked[k, 0]
            sample.set_metainfo(
                {'loss': self.criterion.kind, 'loss_on': self.loss_on}
            )
        return data_samples


def high_pass(volume: Tensor, side: int) -> Tensor:
    """The details of a volume: each voxel minus the mean of the cube around
    it. Voxels outside the volume do not contribute to the mean.

    Args:
        volume: (B, C, D, H, W).
        side: Side of the cube in voxels, odd.

    Returns:
        The same shape.
    """
    smooth = volume
    for axis in range(3):  # the mean over a cube is separable
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = side, side // 2
        smooth = F.avg_pool3d(
            smooth, kernel, 1, padding, count_include_pad=False
        )
    return volume - smooth


def feature_rank(features: Tensor) -> Tensor:
    """Effective rank of features: participation ratio of the channels'
    correlation matrix.

    This is the squared sum of its eigenvalues divided by the sum of their
    squares: from 1 (all channels are fully correlated) to C (no channels are
    correlated). Constant channels add nothing.

    Args:
        features: (B, C, D, H, W).

    Returns:
        A scalar; 0 if all channels are constant.
    """
    channels = features.float().transpose(0, 1).flatten(1)
    channels = channels - channels.mean(dim=1, keepdim=True)
    lengths = channels.norm(dim=1, keepdim=True)
    channels = channels / lengths.clamp(min=1e-6)
    with torch.autocast(features.device.type, enabled=False):
        correlation = channels @ channels.T
    total = correlation.square().sum()
    return correlation.trace().square() / total.clamp(min=1e-6)
