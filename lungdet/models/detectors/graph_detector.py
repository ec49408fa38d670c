"""A NoduleNet whose layers are computed by another runtime."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

from mmengine.structures import InstanceData
from torch import Tensor, nn

from lungdet.models.detectors.case_predictor import CasePredictor
from lungdet.models.detectors.inference_detector import InferenceDetector
from lungdet.models.detectors.nodulenet import NoduleNet
from lungdet.models.feature_maps import FeatureMaps
from lungdet.models.roi_heads.mask_head import decode_boxes
from lungdet.models.views import FLIPS, Flips, View, flip_images
from lungdet.ops import check_finite

Graph = Callable[..., tuple[Tensor, ...]]


class Graphs(NamedTuple):
    """The layers of a NoduleNet as functions; inputs and outputs are float32
    tensors on the CPU.

    Attributes:
        backbone_rpn: ``image`` (B, 1, D, H, W) to the maps ``out1``, ``out2``,
            ``comb2`` of ``FeatureMaps`` and the RPN's ``logits`` (B, N) and
            ``deltas`` (B, N, 6).
        rcnn: ``pooled`` (R, C, k, k, k) to ``logits`` (R, classes + 1) and
            ``deltas`` (R, 6 * (classes + 1)); None without such a head.
        mask: ``comb2``, ``out1`` and ``image``, cropped at R boxes of the
            same size, to ``logits`` (R, 1, d, h, w), see
            ``Mask3DHead.decode``; None without such a head.
    """

    backbone_rpn: Graph
    rcnn: Graph | None = None
    mask: Graph | None = None


class GraphDetector(InferenceDetector):
    """A NoduleNet for inference whose layers are graphs.

    Anchors, pooling, NMS and all other work on boxes are those of NoduleNet.

    Args:
        net: The network; it is copied.
        graphs: The graphs that replace its layers.
    """

    not_trained = (
        'graphs are not trained; train the network that they were exported '
        'from'
    )

    def __init__(self, net: NoduleNet, graphs: Graphs) -> None:
        super().__init__()
        self.net = net = deepcopy(net)
        net.test_cfg = {**net.test_cfg, 'bf16': False}
        self.data_preprocessor = net.data_preprocessor
        self.backbone = _GraphBackbone(graphs.backbone_rpn)
        if graphs.rcnn is not None:
            net.roi_head.bbox_head = _GraphBBoxHead(
                net.roi_head.bbox_head, graphs.rcnn
            )
        if graphs.mask is not None:
            net.roi_head.mask_head = _GraphMaskHead(
                net.roi_head.mask_head, graphs.mask
            )

    @property
    def test_cfg(self) -> dict[str, Any]:
        """The network's ``test_cfg``, with ``bf16=False``: torch's part always
        computes in float32."""
        return self.net.test_cfg

    def case_predictor(self) -> CasePredictor:
        """Inference of whole cases with the network's ``test_cfg``."""
        return self.net.case_predictor(self)

    def predict_window(self, images: Tensor) -> list[InstanceData]:
        """See ``WindowDetector``."""
        return self._predict(images, None, FLIPS[1])

    def predict_owned(
        self, images: Tensor, cores: Tensor, flips: Flips
    ) -> list[InstanceData]:
        """See ``OwningDetector``."""
        return self._predict(images, cores, flips)

    def _predict(
        self, images: Tensor, cores: Tensor | None, flips: Flips
    ) -> list[InstanceData]:
        views, outputs = [], []
        for axes in flips:
            flipped = flip_images(images, axes)
            *maps, logits, deltas = self.backbone(flipped)
            check_finite('maps of the backbone', *maps)
            views.append(View(FeatureMaps(flipped, *maps), axes))
            outputs.append((logits, deltas))
        rpn: Any = self.net.rpn_head
        proposals = rpn.predict_by_views(views, outputs, cores)
        return self.net.predict_by_proposals(views, proposals)


class _GraphBackbone(nn.Module):
    """A graph as a module, to which hooks can be attached."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.graph(images)


class _GraphBBoxHead(nn.Module):
    """A ``bbox_head`` whose layers are a graph."""

    def __init__(self, head: Any, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.predict = head.predict

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        # runtimes differ in how they treat empty tensors
        if len(pooled):
            return self.graph(pooled)
        logits, deltas = self.graph(pooled.new_zeros(1, *pooled.shape[1:]))
        return logits[:0], deltas[:0]


class _GraphMaskHead(nn.Module):
    """A ``mask_head`` whose layers are a graph."""

    def __init__(self, head: Any, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.mask_boxes = head.mask_boxes
        self.max_voxels = head.max_voxels

    def forward(self, feats: FeatureMaps, boxes: Tensor) -> list[Tensor]:
        return decode_boxes(
            lambda *crops: self.graph(*crops)[0],
            feats,
            boxes,
            self.max_voxels,
        )
