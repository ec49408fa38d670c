"""The three graphs of a NoduleNet: their layers, and their tensors' axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models import NoduleNet
from lungdet.models.feature_maps import FeatureMaps

# size of an axis: fixed, or dynamic, such as '16*d'; a symbol has one value
# per run throughout a graph
Axis = int | str
# sizes of the trace; the exporter would fix axes of size 1 and tie equal ones
TRACED = {'batch': 2, 'rois': 3, 'd': 3, 'h': 4, 'w': 5}


@dataclass(frozen=True, eq=False)
class GraphSpec:
    """One graph.

    Attributes:
        layers: Module in evaluation mode, from tensors to a tuple of tensors.
        inputs: Axes of each input tensor, by name.
        outputs: Axes of each output tensor, by name.
    """

    layers: nn.Module
    inputs: Mapping[str, tuple[Axis, ...]]
    outputs: Mapping[str, tuple[Axis, ...]]

    def example(self, sizes: Mapping[str, int], seed: int = 0) -> list[Tensor]:
        """Normally distributed random inputs.

        Args:
            sizes: Value of each symbol.
            seed: Seed of the random numbers.
        """
        generator = torch.Generator().manual_seed(seed)
        return [
            torch.randn([_length(a, sizes) for a in axes], generator=generator)
            for axes in self.inputs.values()
        ]


def graph_specs(net: Any) -> dict[str, GraphSpec]:
    """The specs of a network's graphs, by the stem of their files.

    Args:
        net: A NoduleNet in evaluation mode; heads that have not started yet
            are left out.

    Raises:
        ConfigError: The detector is not a NoduleNet.
    """
    if not isinstance(net, NoduleNet):
        raise ConfigError(
            f'{type(net).__name__}: only a NoduleNet can be exported; give '
            'the checkpoint of a single network, not of an ensemble.'
        )
    rpn = _rpn_spec(net)
    channels = {name: axes[1] for name, axes in rpn.outputs.items()}
    specs = {'backbone_rpn': rpn}
    if net.bbox_started:
        specs['rcnn'] = _rcnn_spec(net, channels)
    if net.mask_started:
        specs['mask'] = _mask_spec(net, channels)
    return specs


def _rpn_spec(net: NoduleNet) -> GraphSpec:
    layers = _BackboneRPN(net).eval()
    inputs: dict[str, tuple[Axis, ...]] = {
        'image': ('batch', 1, '16*d', '16*h', '16*w')
    }
    with torch.no_grad():
        out1, out2, comb2, *_ = layers(torch.zeros(1, 1, 32, 32, 32))
    anchors: Any = net.rpn_head.prior_generator
    number = f'{64 * anchors.num_anchors}*d*h*w'
    return GraphSpec(
        layers,
        inputs,
        {
            'out1': ('batch', out1.shape[1], '8*d', '8*h', '8*w'),
            'out2': ('batch', out2.shape[1], '4*d', '4*h', '4*w'),
            'comb2': ('batch', comb2.shape[1], '4*d', '4*h', '4*w'),
            'logits': ('batch', number),
            'deltas': ('batch', number, 6),
        },
    )


def _rcnn_spec(net: NoduleNet, channels: Mapping[str, Axis]) -> GraphSpec:
    head = net.roi_head.bbox_head
    bins, classes = head.roi_feat_size, head.num_classes + 1
    return GraphSpec(
        head,
        {'pooled': ('rois', channels['out2'], bins, bins, bins)},
        {'logits': ('rois', classes), 'deltas': ('rois', 6 * classes)},
    )


def _mask_spec(net: NoduleNet, channels: Mapping[str, Axis]) -> GraphSpec:
    return GraphSpec(
        _MaskDecoder(net).eval(),
        {
            'comb2': ('rois', channels['comb2'], 'd', 'h', 'w'),
            'out1': ('rois', channels['out1'], '2*d', '2*h', '2*w'),
            'image': ('rois', 1, '4*d', '4*h', '4*w'),
        },
        {'logits': ('rois', 1, '4*d', '4*h', '4*w')},
    )


def _length(axis: Axis, sizes: Mapping[str, int]) -> int:
    """Length of an axis, given the value of each symbol."""
    if isinstance(axis, int):
        return axis
    return math.prod(
        sizes[factor] if factor in sizes else int(factor)
        for factor in axis.split('*')
    )


class _BackboneRPN(nn.Module):
    """From image to feature maps, and logits and deltas of every anchor."""

    def __init__(self, net: NoduleNet) -> None:
        super().__init__()
        self.backbone = net.backbone
        self.rpn_head = net.rpn_head

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(image)
        return (*maps, *self.rpn_head(FeatureMaps(image, *maps)))


class _MaskDecoder(nn.Module):
    """From the crops of the feature maps at boxes to mask logits."""

    def __init__(self, net: NoduleNet) -> None:
        super().__init__()
        self.head = net.roi_head.mask_head

    def forward(
        self, comb2: Tensor, out1: Tensor, image: Tensor
    ) -> tuple[Tensor]:
        return (self.head.decode(comb2, out1, image),)
