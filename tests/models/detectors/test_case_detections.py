"""What a window detects, in the voxels of the case."""

from __future__ import annotations

import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models.detectors.case_detections import (
    SEAM,
    cores,
    near_lungs,
    owned_in_case,
    with_views,
)
from lungdet.models.detectors.case_windows import CaseWindow, case_windows

WINDOWS = case_windows((32, 32, 48), (32, 32, 32), 16)  # cores meet at 24


def detections_at(x: list[float]) -> InstanceData:
    """Cubes of 4 voxels, the first of which has a mask."""
    center = torch.tensor([[16.0, 16.0, value] for value in x])
    boxes = torch.cat([center - 2, center + 2], dim=1)
    mask_boxes = torch.zeros(len(x), 6, dtype=torch.long)
    mask_boxes[0] = boxes[0].long()
    return InstanceData(
        bboxes=boxes,
        scores=torch.linspace(1, 0.5, len(x)),
        mask_boxes=mask_boxes,
        masks=[torch.ones(4, 4, 4).bool(), *[None] * (len(x) - 1)],
    )


def x_of(detections: InstanceData) -> list[float]:
    return (detections.bboxes[:, 2] + 2).tolist()


def test_cores_reach_over_their_seam_in_voxels_of_the_window() -> None:
    first, second = cores(WINDOWS)

    assert first[5] == 24 + SEAM and first[2] == -torch.inf
    assert second[2] == 24 - 16 - SEAM and second[5] == torch.inf


def test_a_window_owns_its_core_and_boxes_and_masks_move_to_the_case() -> None:
    second: CaseWindow = WINDOWS[1]

    owned = owned_in_case(detections_at([10, 5, 20]), second)

    assert x_of(owned) == [26, 36]  # 5 is that of the first window
    assert owned.mask_boxes.tolist() == [[14, 14, 24, 18, 18, 28], [0] * 6]
    assert owned.masks[0] is not None and owned.masks[1] is None


def test_detections_far_from_the_lungs_are_counted() -> None:
    sample = DetDataSample(metainfo={'lung_margin': 3.0})
    sample.lungs = torch.zeros(32, 32, 48, dtype=torch.bool)
    sample.lungs[..., 20] = True

    kept = near_lungs(detections_at([10, 18, 23, 25]), sample)

    assert x_of(kept) == [18, 23]
    assert kept.outside_lungs == 2 and kept.lung_margin == 3.0


def test_views_count_on_by_model() -> None:
    detections = detections_at([1, 2])
    assert with_views(detections, 3).views.tolist() == [3, 3]

    detections.models = torch.tensor([0, 1])
    marked = with_views(detections, 4)

    assert marked.views.tolist() == [4, 5]
    assert 'models' not in marked and 'models' in detections
