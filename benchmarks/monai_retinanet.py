"""The RetinaNet of MONAI's lung nodule bundle, with random weights.

Settings are those of the bundle (model-zoo, lung_nodule_ct_detection 0.6.8).
Used by ``benchmarks/inference.py`` to compare costs.

    pip install --no-deps monai==1.6.1

MONAI imports torchvision, of which inference needs two functions. If
torchvision is missing, or built for another torch, ``stand_in`` provides them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

SPACING_XYZ = (0.703125, 0.703125, 1.25)  # mm
HU = (-1024, 300)  # scaled to 0..1
ROI = (512, 512, 192)  # (x, y, z) of a window, at inference
OVERLAP = 0.25
DIVISIBLE = (16, 16, 8)


def stand_in() -> None:
    """Provide the parts of torchvision that MONAI needs, if it is missing."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # built for another torch
        pass
    else:
        return
    from torch import nn

    class IntermediateLayerGetter(nn.ModuleDict):
        """Runs a network's children until all requested outputs are there."""

        def __init__(
            self, model: nn.Module, return_layers: Mapping[str, str]
        ) -> None:
            children = dict(model.named_children())
            last = max(map(list(children).index, return_layers))
            super().__init__(dict(list(children.items())[: last + 1]))
            self.return_layers = dict(return_layers)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            out = {}
            for name, module in self.items():
                x = module(x)
                if name in self.return_layers:
                    out[self.return_layers[name]] = x
            return out

    names = (
        'torchvision',
        'torchvision.models',
        'torchvision.models._utils',
        'torchvision.models.detection',
        'torchvision.models.detection._utils',
        'torchvision.models.detection.backbone_utils',
    )
    for name in names:
        sys.modules[name] = module = ModuleType(name)
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(sys.modules[parent], child, module)
    modules: dict[str, Any] = dict(sys.modules)
    models = modules['torchvision.models']
    models._utils.IntermediateLayerGetter = IntermediateLayerGetter
    detection = models.detection
    detection.backbone_utils._validate_trainable_layers = (
        lambda pretrained, layers, max_value, default_value: max_value
    )
    # MONAI imports these, but uses them in training only
    detection._utils.Matcher = object
    detection._utils.BalancedPositiveNegativeSampler = object


def retinanet() -> nn.Module:
    """The bundle's detector, untrained.

    Raises:
        ImportError: MONAI is not installed.
    """
    stand_in()
    from monai.apps.detection.networks.retinanet_detector import (
        RetinaNetDetector,
    )
    from monai.apps.detection.networks.retinanet_network import (
        RetinaNet,
        resnet_fpn_feature_extractor,
    )
    from monai.apps.detection.utils.anchor_utils import (
        AnchorGeneratorWithAnchorShape,
    )
    from monai.networks.nets.resnet import resnet50

    backbone = resnet50(
        spatial_dims=3,
        n_input_channels=1,
        conv1_t_size=(7, 7, 7),
        conv1_t_stride=(2, 2, 1),
    )
    network = RetinaNet(
        spatial_dims=3,
        num_classes=1,
        num_anchors=3,
        feature_extractor=resnet_fpn_feature_extractor(
            backbone, 3, False, [1, 2], None
        ),
        size_divisible=DIVISIBLE,
    )
    anchors = AnchorGeneratorWithAnchorShape(
        feature_map_scales=(1, 2, 4),
        base_anchor_shapes=((6, 8, 4), (8, 6, 5), (10, 10, 6)),
    )
    detector = RetinaNetDetector(
        network, anchors, spatial_dims=3, num_classes=1
    )
    detector.set_box_selector_parameters(
        score_thresh=0.02,
        topk_candidates_per_level=1000,
        nms_thresh=0.22,
        detections_per_img=300,
    )
    return detector.eval()


def image_of(hu: Tensor, spacing_xyz: Sequence[float]) -> Tensor:
    """Preprocess a scan as the bundle does.

    Args:
        hu: HU (z, y, x).
        spacing_xyz: Spacing (x, y, z) in mm.

    Returns:
        (1, X, Y, Z) in [0, 1], with the bundle's spacing.
    """
    import torch

    image = hu.permute(2, 1, 0)[None, None].float()
    size = [
        round(side * spacing / wanted)
        for side, spacing, wanted in zip(
            image.shape[2:], spacing_xyz, SPACING_XYZ
        )
    ]
    image = torch.nn.functional.interpolate(
        image, size, mode='trilinear', align_corners=False
    )[0]
    return ((image - HU[0]) / (HU[1] - HU[0])).clamp_(0, 1)


def num_windows(size: Sequence[int], roi: Sequence[int]) -> int:
    """Number of windows that MONAI's sliding inferer needs for an image.

    Examples:
        >>> num_windows((512, 512, 266), (512, 512, 192))
        2
        >>> num_windows((512, 512, 264), (192, 192, 80))
        80
    """
    return math.prod(
        1 + max(0, math.ceil((side - window) / int(window * (1 - OVERLAP))))
        for side, window in zip(size, roi)
    )
