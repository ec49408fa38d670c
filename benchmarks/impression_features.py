"""Features of nodules for ``impressions``: measurements, and those of a
detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from lungdet.errors import CheckpointError
from lungdet.io.nodule_library import LibraryNodule

if TYPE_CHECKING:
    from torch import Tensor

    from lungdet.models.detectors import NoduleNet

SIDE = 48  # voxels of a crop
LUNG_HU = -850  # outside the library's voxels
BATCH = 16
RIM_MM = 2.0  # width of the rim on either side of the outline
QUANTILES = 0.05, 0.25, 0.5, 0.75, 0.95


def measured(nodule: LibraryNodule) -> np.ndarray:
    """Mean HU inside the outline, then quantiles of HU inside it, in its inner
    rim and in its outer rim."""
    slices = nodule.mask.any((1, 2))
    hu, mask = nodule.hu[slices], nodule.mask[slices]
    depth = ndimage.distance_transform_edt(mask, sampling=nodule.spacing)
    away = ndimage.distance_transform_edt(~mask, sampling=nodule.spacing)
    parts = (
        mask,
        mask & (depth <= RIM_MM),
        ~mask & (away <= RIM_MM),
    )
    return np.concatenate(
        [[hu[mask].mean()], *(np.quantile(hu[p], QUANTILES) for p in parts)]
    )


def crop(nodule: LibraryNodule, spacing_mm: float) -> np.ndarray:
    """HU (SIDE, SIDE, SIDE), float32, around the outline's centre."""
    step = spacing_mm / np.array(nodule.spacing)
    center = np.array(ndimage.center_of_mass(nodule.mask))
    return ndimage.affine_transform(
        nodule.hu.astype(np.float32),
        step,
        offset=center - step * (SIDE - 1) / 2,
        output_shape=(SIDE,) * 3,
        order=1,
        mode='grid-constant',
        cval=LUNG_HU,
    )


def detector_features(
    nodules: Sequence[LibraryNodule], model: Path
) -> np.ndarray:
    """A detector's features (N, ...) of nodules in their reference boxes.

    Raises:
        CheckpointError: The detector has no trained RoI head.
    """
    import torch

    from lungdet.engine.detector import load_detector
    from lungdet.models.detectors import NoduleNet

    detector, contract, _ = load_detector(model)
    if not isinstance(detector, NoduleNet) or not detector.bbox_started:
        raise CheckpointError(
            f'{model}: has no trained RoI head, whose features are needed. '
            'Use a NoduleNet whose training has finished.'
        )
    rows = []
    for start in range(0, len(nodules), BATCH):
        batch = nodules[start : start + BATCH]
        crops = np.stack([crop(n, contract.spacing_mm) for n in batch])
        radius = np.array([n.diameter_mm for n in batch]) / 2
        half = torch.from_numpy(radius / contract.spacing_mm).float()[:, None]
        boxes = torch.cat([SIDE / 2 - half] * 3 + [SIDE / 2 + half] * 3, 1)
        rows.append(_pooled(detector, torch.from_numpy(crops)[:, None], boxes))
    return torch.cat(rows).numpy()


def _pooled(detector: NoduleNet, crops: Tensor, boxes: Tensor) -> Tensor:
    """Features (N, ...) of crops (N, 1, D, H, W) in HU, each with one box."""
    import torch

    from lungdet.models.feature_maps import STRIDE
    from lungdet.models.roi_heads.nodule_roi_head import boxes_to_rois
    from lungdet.ops import bfloat16_autocast, computes_bfloat16, roi_align

    roi_head = detector.roi_head
    with torch.inference_mode():
        with bfloat16_autocast('cpu', computes_bfloat16('cpu')):
            feats = detector.extract_finite_feat(
                detector.data_preprocessor.apply_window(crops)
            )
        rois = boxes_to_rois(list(boxes[:, None]))
        parts = []
        for feature, stride in (
            (feats.out1, STRIDE // 2),
            (feats.out2, STRIDE),
            (feats.comb2, STRIDE),
        ):
            sampled = roi_align(feature, rois, output_size=4, stride=stride)
            parts += [sampled.flatten(2).mean(2), sampled.flatten(2).amax(2)]
        grown = boxes_to_rois(list(roi_head.grow(boxes)[:, None]))
        pooled = roi_head.bbox_roi_extractor(feats.out2, grown)
        head = roi_head.bbox_head
        first = head.after_fc1(head.fc1(pooled.flatten(1)))
        second = head.after_fc2(head.fc2(first))
        return torch.cat([*parts, pooled.flatten(2).mean(2), first, second], 1)


def feature_sets(
    nodules: Sequence[LibraryNodule], model: Path
) -> dict[str, np.ndarray]:
    """Feature sets (N, ...) by name; the two baselines come first."""
    diameter = np.log([[n.diameter_mm] for n in nodules])
    hu = np.stack([measured(n) for n in nodules])
    maps = detector_features(nodules, model)
    sets = {
        'diameter': (),
        'mean HU': (hu[:, :1],),
        'measured': (hu[:, 1:],),
        'detector': (maps,),
        'all': (hu, maps),
    }
    return {
        name: np.concatenate([diameter, *tables], axis=1)
        for name, tables in sets.items()
    }
