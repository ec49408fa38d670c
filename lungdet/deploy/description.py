"""Content of ``detector.json``: everything needed to run the ONNX graphs.

Its JSON Schema is ``lungdet/schemas/onnx.schema.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lungdet
from lungdet.deploy.graph_specs import GraphSpec
from lungdet.engine.detector import LoadedDetector
from lungdet.errors import ConfigError
from lungdet.io.digests import sha256_of
from lungdet.models import (
    AnchorGenerator3D,
    BBox3DHead,
    DeltaBoxCoder3D,
    DetectionPostProcessor,
    Mask3DHead,
    NoduleNet,
    NoduleRoIHead,
    RoIAlign3D,
    RoICrop3D,
    RPN3DHead,
    WeightedBoxClustering,
)
from lungdet.models.backbones.featurenet import MAX_STRIDE
from lungdet.models.detectors.case_detections import SEAM
from lungdet.models.feature_maps import STRIDE

SCHEMA = 'lungdet.onnx/1'
INTENDED_USE = 'research only; not a medical device'
POOLINGS = (RoICrop3D, RoIAlign3D)


def describe(
    detector: LoadedDetector,
    specs: Mapping[str, GraphSpec],
    files: Mapping[str, Path],
    terms: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The content as JSON values, without its digest.

    Args:
        detector: A loaded NoduleNet.
        specs: Specs of its graphs, by name.
        files: ONNX file of each graph, with its final file name.
        terms: ``licences`` and ``attribution`` of a release; None for other
            weights.

    Raises:
        ConfigError: A component that determines the boxes is of a class that
            the file format cannot describe.
    """
    net: Any = detector.model
    _check_parts(net)
    info, test = detector.info, net.test_cfg
    return {
        'schema': SCHEMA,
        'intended_use': INTENDED_USE,
        'lungdet_version': lungdet.__version__,
        'model': {**asdict(info), 'window': list(info.window)},
        'terms': terms and dict(terms),
        'input': {
            'axes': 'zyx',
            'spacing_mm': info.spacing_mm,
            'hu_window': list(detector.contract.window),
            'out_range': list(detector.contract.out_range),
            'pad_hu': net.data_preprocessor.pad_hu,
            **_windows(test),
            'side_multiple': MAX_STRIDE,
        },
        'graphs': {
            name: {
                'file': files[name].name,
                'bytes': files[name].stat().st_size,
                'sha256': sha256_of(files[name]),
                'inputs': {k: list(v) for k, v in spec.inputs.items()},
                'outputs': {k: list(v) for k, v in spec.outputs.items()},
            }
            for name, spec in specs.items()
        },
        'rpn': _rpn(net.rpn_head),
        'rcnn': _rcnn(net.roi_head) if 'rcnn' in specs else None,
        'mask': _mask(net.roi_head) if 'mask' in specs else None,
        'postprocess': _postprocess(net),
        'thresholds': {
            'score_thr': test['score_thr'],
            'by_fp_per_scan': test['score_thrs'],
        },
    }


def _check_parts(net: NoduleNet) -> None:
    """Refuse networks with components that the file format cannot describe.

    Raises:
        ConfigError: There is such a component; the message names its class.
    """
    rpn: Any = net.rpn_head
    parts: list[tuple[Any, tuple[type, ...]]] = [
        (rpn, (RPN3DHead,)),
        (rpn.prior_generator, (AnchorGenerator3D,)),
        (rpn.bbox_coder, (DeltaBoxCoder3D,)),
        (net.post_processor, (DetectionPostProcessor,)),
    ]
    if net.bbox_started:
        head = net.roi_head
        parts += [
            (head, (NoduleRoIHead,)),
            (head.bbox_roi_extractor, POOLINGS),
            (head.bbox_head, (BBox3DHead,)),
            (head.bbox_head.bbox_coder, (DeltaBoxCoder3D,)),
        ]
    if net.mask_started:
        parts.append((net.roi_head.mask_head, (Mask3DHead,)))
    if merge := getattr(net.post_processor, 'merge', None):
        parts.append((merge, (WeightedBoxClustering,)))
    for part, known in parts:
        if type(part) not in known:
            raise ConfigError(
                f'{type(part).__name__}: detector.json cannot describe this '
                f'class, only {known[0].__name__}; export a network without '
                'it, or run it with lungdet infer --backend.'
            )


def _windows(test_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """How test windows are sized: fitted to the case, or all the same."""
    fixed, most = test_cfg['window'], test_cfg['max_voxels']
    if most is not None:
        fixed = None
    return {
        'window': fixed and list(fixed),
        'max_voxels': most,
        'overlap': test_cfg['overlap'],
    }


def _rpn(head: Any) -> dict[str, Any]:
    anchors = head.prior_generator
    return {
        'anchor_sizes': list(anchors.sizes),
        'stride': anchors.stride,
        'coder': _coder(head.bbox_coder),
        **head.test_cfg,
    }


def _rcnn(head: Any) -> dict[str, Any]:
    extractor = head.bbox_roi_extractor
    return {
        'pooling': {
            'type': type(extractor).__name__,
            'bins': extractor.output_size,
            'stride': extractor.stride,
        },
        'border': head.border,
        'coder': _coder(head.bbox_head.bbox_coder),
    }


def _mask(head: Any) -> dict[str, Any]:
    return {
        'side_multiple': STRIDE,
        'logit_thr': 0,
        **head.test_cfg['mask'],
    }


def _coder(coder: Any) -> dict[str, Any]:
    return {'weights': list(coder.weights), 'max_dlog': coder.max_dlog}


def _postprocess(net: NoduleNet) -> dict[str, Any]:
    post = net.post_processor
    merge = post.merge and {
        'type': type(post.merge).__name__,
        **post.merge.rules,
    }
    return {
        'box_source': post.box_source,
        'score_fusion': post.score_fusion,
        'seam': SEAM,
        'nms': dict(post.nms),
        'merge': merge,
        'max_per_scan': post.max_per_scan,
        'box_border': net.box_border,
        'views': net.test_cfg['flips'],
    }
