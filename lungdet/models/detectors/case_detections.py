"""The detections of each window of a case, in the voxels of the case."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.models.detectors.case_windows import CaseWindow
from lungdet.ops import centers_in_boxes, centers_near_mask

# two windows predict one nodule at slightly different positions: cores overlap
# by this many voxels, so none is lost at a seam, and NMS removes duplicates
SEAM = 2.0


def cores(windows: list[CaseWindow]) -> Tensor:
    """Cores (B, 6), with a seam around them, in each window's voxels."""
    return torch.stack([w.core(SEAM) - w.offset() for w in windows])


def with_views(detections: InstanceData, first: int) -> InstanceData:
    """Detections with ``views``, numbered from ``first`` by model."""
    marked = InstanceData(**dict(detections.items()))
    models = marked.pop('models', torch.zeros(len(detections)))
    marked.views = models.long() + first
    return marked


def owned_in_case(
    detections: InstanceData, window: CaseWindow
) -> InstanceData:
    """Detections that a window owns, in the case's voxels."""
    origins = detections.get('proposals', detections.bboxes)
    core = (window.core(SEAM) - window.offset())[None]
    detections = detections[centers_in_boxes(origins, core.to(origins))]
    moved = InstanceData(**dict(detections.items()))
    moved.pop('proposals', None)
    is_segmented = torch.tensor(
        [mask is not None for mask in detections.masks], dtype=torch.bool
    )
    offset = window.offset()
    moved.bboxes = detections.bboxes + offset
    moved.mask_boxes = detections.mask_boxes + offset * is_segmented[:, None]
    return moved


def near_lungs(
    detections: InstanceData, sample: DetDataSample
) -> InstanceData:
    """Detections within the margin of a sample's lungs; the others are
    counted."""
    near = centers_near_mask(
        detections.bboxes, sample.lungs.cpu(), sample.lung_margin
    )
    kept = detections[near]
    kept.set_metainfo(
        {
            'lung_margin': sample.lung_margin,
            'outside_lungs': int((~near).sum()),
        }
    )
    return kept
