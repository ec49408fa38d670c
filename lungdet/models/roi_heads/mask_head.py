"""Segmentation of proposals at full resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.losses import soft_dice_loss
from lungdet.registry import MODELS

CELL = 4  # input voxels per cell of the coarsest map; boxes align to it
MAX_VOXELS = 64**3 * 4  # of a batch; 64 channels of it are 268 MB in float32


def mask_boxes(rois: Tensor, img_shape: Sequence[int]) -> Tensor:
    """Widen RoIs to whole cells inside the volume.

    Args:
        rois: (R, 7) edge boxes, batch index first.
        img_shape: Input voxels (z, y, x), multiples of 4.

    Returns:
        (R, 7) long, multiples of 4, at least one cell long.
    """
    side = torch.tensor(list(img_shape), device=rois.device)
    low = (rois[:, 1:4] / CELL).floor().long() * CELL
    high = (rois[:, 4:7] / CELL).ceil().long() * CELL
    low = torch.minimum(low.clamp(min=0), side - CELL)
    high = torch.minimum(torch.maximum(high, low + CELL), side)
    return torch.cat([rois[:, :1].long(), low, high], dim=1)


def truncated_mask_boxes(rois: Tensor, img_shape: Sequence[int]) -> Tensor:
    """``mask_boxes`` with the published fault.

    Positions are stated by voxel centres, and the end is cut to an integer
    before it is widened: up to a cell is lost, and a small box can become
    empty.
    """
    side = torch.tensor(list(img_shape), device=rois.device)
    low = (rois[:, 1:4] - 0.5).trunc().long()
    high = (rois[:, 4:7] - 0.5).trunc().long()
    low = low.div(CELL, rounding_mode='floor') * CELL
    high = -(-high).div(CELL, rounding_mode='floor') * CELL
    low, high = (torch.minimum(v.clamp(min=0), side) for v in (low, high))
    return torch.cat([rois[:, :1].long(), low, high], dim=1)


BOX_RULES = {'whole': mask_boxes, 'truncated': truncated_mask_boxes}


@MODELS.register_module()
class Mask3DHead(BaseModule):
    """Decode a box from stride 4 to full resolution.

    Args:
        in_channels: Channels of ``comb2``.
        skip_channels: Channels of ``out1``.
        channels: Channels inside.
        reduction: ``'sum'`` over boxes as published, or ``'mean'``.
        target: ``'instance'`` trains each box on its own nodule;
            ``'component'`` repeats the published fault: the raw numbers of
            the label volume are the target and only boxes that hold number 1
            count.
        boxes: ``'whole'``, see ``mask_boxes``, or as published
            ``'truncated'``, see ``truncated_mask_boxes``.

    Raises:
        ConfigError: Unknown ``boxes``.

    Source: NoduleNet (Tang et al. 2019), segmentation refinement.
    """

    def __init__(
        self,
        in_channels: int = 128,
        skip_channels: int = 32,
        *,
        channels: int = 64,
        reduction: str = 'sum',
        target: str = 'instance',
        boxes: str = 'whole',
    ) -> None:
        super().__init__()
        if boxes not in BOX_RULES:
            raise ConfigError(
                f'Mask3DHead.boxes: {boxes!r}; choose one of '
                f'{sorted(BOX_RULES)}.'
            )
        self.box_rule = BOX_RULES[boxes]
        self.reduction = reduction
        self.target = target
        self.up2 = nn.Sequential(
            nn.Upsample(scale_factor=2, mode='trilinear'),
            *_conv_norm(in_channels, channels),
        )
        self.back2 = nn.Sequential(
            *_conv_norm(channels + skip_channels, channels)
        )
        self.up3 = nn.Sequential(
            nn.Upsample(scale_factor=2, mode='trilinear'),
            *_conv_norm(channels, channels),
        )
        self.back3 = nn.Sequential(*_conv_norm(channels + 1, channels))
        self.logits1 = nn.Conv3d(channels, 1, 1)

    def boxes(
        self, rois: Tensor, img_shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Mask boxes (K, 7) of RoIs (R, 7) and which have one, (R,) bool."""
        boxes = self.box_rule(rois, img_shape)
        full = (boxes[:, 4:] > boxes[:, 1:4]).all(1)
        return boxes[full], full

    def forward(
        self, image: Tensor, out1: Tensor, comb2: Tensor, boxes: Tensor
    ) -> list[Tensor]:
        """Logits of each box, at its own size.

        Boxes of equal size run as one batch, as far as memory allows; padding
        to a common size would change the instance norm.

        Args:
            image: (B, 1, D, H, W), windowed.
            out1: (B, C1, D/2, H/2, W/2).
            comb2: (B, C2, D/4, H/4, W/4).
            boxes: (R, 7) long, multiples of 4, batch index first.

        Returns:
            R tensors (d, h, w).
        """
        logits: list[Tensor] = [image.new_zeros(0)] * len(boxes)
        rows = boxes.tolist()
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(rows):
            size = tuple(b - a for a, b in zip(row[1:4], row[4:7]))
            sizes.setdefault(size, []).append(number)
        for size, numbers in sizes.items():
            at_once = max(MAX_VOXELS // math.prod(size), 1)
            for start in range(0, len(numbers), at_once):
                part = numbers[start : start + at_once]
                mine = [rows[number] for number in part]
                fine = self._decode(image, out1, comb2, mine)
                for number, logit in zip(part, fine):
                    logits[number] = logit
        return logits

    def _decode(
        self, image: Tensor, out1: Tensor, comb2: Tensor, rows: list[list[int]]
    ) -> Tensor:
        x = self.up2(_crops(comb2, rows, CELL))
        x = self.back2(torch.cat([x, _crops(out1, rows, 2)], dim=1))
        x = self.up3(x)
        x = self.back3(torch.cat([x, _crops(image, rows, 1)], dim=1))
        return self.logits1(x)[:, 0]

    def loss(
        self,
        logits: list[Tensor],
        boxes: Tensor,
        gt_masks: list[Tensor],
        ids: Tensor,
    ) -> dict[str, Tensor]:
        """``loss_mask`` over boxes; zero without boxes.

        Args:
            logits: As ``forward`` returned them.
            boxes: (R, 7) long.
            gt_masks: (D, H, W) nodule numbers of each crop.
            ids: (R,) number of each box's nodule.
        """
        losses = []
        for logit, row, number in zip(logits, boxes.tolist(), ids):
            crop = _crops(gt_masks[row[0]][None, None], [[0, *row[1:]]], 1)
            goal = crop[0, 0]
            if self.target == 'instance':
                goal = goal == number
            goal = goal.to(logit.dtype)
            # a box with nothing to segment counts 0; a factor instead of a
            # branch, so that the device is not asked
            present = (goal == 1).any()
            losses.append(soft_dice_loss(logit, goal) * present)
        if not losses:
            return {'loss_mask': sum(p.sum() for p in self.parameters()) * 0}
        total = torch.stack(losses)
        return {
            'loss_mask': total.sum()
            if self.reduction == 'sum'
            else total.mean()
        }


def _conv_norm(in_channels: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv3d(in_channels, channels, 3, padding=1),
        nn.InstanceNorm3d(channels, affine=True),
        nn.ReLU(inplace=True),
    ]


def _crops(volume: Tensor, rows: list[list[int]], stride: int) -> Tensor:
    """Cut equally large boxes out of (B, C, D, H, W); (R, C, d, h, w)."""
    cuts = []
    for b, *box in rows:
        z1, y1, x1, z2, y2, x2 = (v // stride for v in box)
        cuts.append(volume[b, :, z1:z2, y1:y2, x1:x2])
    return torch.stack(cuts)
