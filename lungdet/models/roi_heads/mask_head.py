"""Segmentation of RoIs at full resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.models.feature_maps import STRIDE, FeatureMaps
from lungdet.models.layers import ACT_CFG, norm_and_activation
from lungdet.ops import from_host
from lungdet.registry import MODELS

MAX_VOXELS = 64**3 * 4  # of a batch; 64 channels of it are 268 MB in float32
NORM_CFG = {'type': 'IN3d', 'affine': True}


@MODELS.register_module()
class Mask3DHead(BaseModule):
    """Decode a box from stride 4 to full resolution.

    Args:
        in_channels: Channels of ``comb2``.
        skip_channels: Channels of ``out1``.
        channels: Hidden channels.
        norm_cfg: Norm after every convolution, as in mmcv; the published one
            is an instance norm.
        act_cfg: Activation, as in mmcv.
        loss_mask: Dict of a loss taking lists of logits and targets.
        max_voxels: Largest number of voxels of a batch of boxes.

    Source: NoduleNet (Tang et al. 2019), segmentation refinement; layers
        named as published.
    """

    def __init__(
        self,
        in_channels: int = 128,
        skip_channels: int = 32,
        *,
        channels: int = 64,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        loss_mask: dict | None = None,
        max_voxels: int = MAX_VOXELS,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or NORM_CFG
        act_cfg = act_cfg or ACT_CFG
        self.max_voxels = max_voxels
        self.loss_mask = MODELS.build(loss_mask or {'type': 'SoftDiceLoss'})

        def conv(inputs: int) -> list[nn.Module]:
            return [
                nn.Conv3d(inputs, channels, 3, padding=1),
                *norm_and_activation(channels, norm_cfg, act_cfg),
            ]

        double = nn.Upsample(scale_factor=2, mode='trilinear')
        self.up2 = nn.Sequential(double, *conv(in_channels))
        self.back2 = nn.Sequential(*conv(channels + skip_channels))
        self.up3 = nn.Sequential(double, *conv(channels))
        self.back3 = nn.Sequential(*conv(channels + 1))
        self.logits1 = nn.Conv3d(channels, 1, 1)

    def mask_boxes(
        self, rois: Tensor, img_shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Boxes to segment, and which RoIs have one.

        Args:
            rois: (R, 7) edge boxes, batch index first.
            img_shape: Input voxels (z, y, x), multiples of 4.

        Returns:
            (K, 7) long, multiples of 4 and inside the volume, batch index
            first; (R,) bool, K of them true.
        """
        boxes = self.align(rois, img_shape)
        is_full = (boxes[:, 4:] > boxes[:, 1:4]).all(1)
        return boxes[is_full], is_full

    def align(self, rois: Tensor, img_shape: Sequence[int]) -> Tensor:
        """Widen RoIs (R, 7) to whole cells of the volume, at least one."""
        side = from_host(list(img_shape), rois).long()
        low = (rois[:, 1:4] / STRIDE).floor().long() * STRIDE
        high = (rois[:, 4:7] / STRIDE).ceil().long() * STRIDE
        low = torch.minimum(low.clamp(min=0), side - STRIDE)
        high = torch.minimum(torch.maximum(high, low + STRIDE), side)
        return torch.cat([rois[:, :1].long(), low, high], dim=1)

    def forward(self, feats: FeatureMaps, boxes: Tensor) -> list[Tensor]:
        """Logits of each box, see ``decode_boxes``."""
        return decode_boxes(self.decode, feats, boxes, self.max_voxels)

    def decode(self, comb2: Tensor, out1: Tensor, image: Tensor) -> Tensor:
        """Logits of equally large boxes, from what they cut out of the maps.

        Args:
            comb2: (R, C3, d/4, h/4, w/4).
            out1: (R, C1, d/2, h/2, w/2).
            image: (R, 1, d, h, w).

        Returns:
            (R, 1, d, h, w).
        """
        x = self.back2(torch.cat([self.up2(comb2), out1], dim=1))
        x = self.back3(torch.cat([self.up3(x), image], dim=1))
        return self.logits1(x)

    def get_targets(
        self, boxes: Tensor, gt_masks: list[Tensor], ids: Tensor
    ) -> list[Tensor]:
        """Binary target of each box, at its size.

        Args:
            boxes: (R, 7) long, batch index first.
            gt_masks: (D, H, W) nodule ids of each crop.
            ids: (R,) id of each box's nodule.
        """
        crops = crop_masks(boxes, gt_masks)
        return [crop == number for crop, number in zip(crops, ids)]

    def loss(
        self, logits: list[Tensor], targets: list[Tensor]
    ) -> dict[str, Tensor]:
        """``loss_mask`` over boxes; without boxes 0, with a gradient of 0."""
        if not logits:
            return {'loss_mask': sum(p.sum() for p in self.parameters()) * 0}
        return {'loss_mask': self.loss_mask(logits, targets)}


def decode_boxes(
    decode: Callable[[Tensor, Tensor, Tensor], Tensor],
    feats: FeatureMaps,
    boxes: Tensor,
    max_voxels: int,
) -> list[Tensor]:
    """Logits of each box, at its size.

    Boxes of equal size run as one batch, as far as memory allows; padding to
    a common size would change the instance norm.

    Args:
        decode: As ``Mask3DHead.decode``.
        feats: Maps of the batch.
        boxes: (R, 7) long, multiples of 4, batch index first.
        max_voxels: Largest number of voxels of a batch of boxes.

    Returns:
        R tensors (d, h, w).
    """
    logits: list[Tensor] = [feats.image.new_zeros(0)] * len(boxes)
    rows = boxes.tolist()
    of_size: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        size = tuple(b - a for a, b in zip(row[1:4], row[4:7]))
        of_size.setdefault(size, []).append(number)
    for size, numbers in of_size.items():
        at_once = max(max_voxels // math.prod(size), 1)
        for start in range(0, len(numbers), at_once):
            part = numbers[start : start + at_once]
            crops = [rows[k] for k in part]
            decoded = decode(
                crop_boxes(feats.comb2, crops, STRIDE),
                crop_boxes(feats.out1, crops, 2),
                crop_boxes(feats.image, crops, 1),
            )
            for number, logit in zip(part, decoded[:, 0]):
                logits[number] = logit
    return logits


def crop_boxes(volume: Tensor, rows: list[list[int]], stride: int) -> Tensor:
    """Cut equally large boxes out of a map.

    Args:
        volume: (B, C, D, H, W), a map of that stride.
        rows: R boxes of 7 integers in input voxels, batch index first,
            multiples of ``stride``.
        stride: Input voxels per cell of the map.

    Returns:
        (R, C, d, h, w).
    """
    crops = []
    for b, *box in rows:
        z1, y1, x1, z2, y2, x2 = (v // stride for v in box)
        crops.append(volume[b, :, z1:z2, y1:y2, x1:x2])
    return torch.stack(crops)


def crop_masks(boxes: Tensor, gt_masks: list[Tensor]) -> list[Tensor]:
    """Cut boxes out of the masks of their crops.

    Args:
        boxes: (R, 7) long, batch index first.
        gt_masks: (D, H, W) of each crop.

    Returns:
        R masks (d, h, w), views.
    """
    return [
        gt_masks[b][z1:z2, y1:y2, x1:x2]
        for b, z1, y1, x1, z2, y2, x2 in boxes.tolist()
    ]
