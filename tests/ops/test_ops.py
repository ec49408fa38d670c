from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet import ops


def literal_nms(
    boxes: np.ndarray, scores: np.ndarray, thr: float
) -> list[int]:
    from lungdet.geometry import box_iou

    iou = box_iou(boxes, boxes)
    alive = sorted(range(len(boxes)), key=lambda k: (-scores[k], k))
    keep = []
    for k in alive:
        if all(iou[j, k] <= thr for j in keep):
            keep.append(k)
    return keep


def random_boxes(rng: np.random.Generator, num: int) -> np.ndarray:
    low = rng.integers(0, 20, (num, 3)).astype(float)
    return np.concatenate([low, low + rng.integers(0, 9, (num, 3))], axis=1)


@pytest.mark.parametrize('block', [3, 16, 2048])
@pytest.mark.parametrize('thr', [0.0, 0.1, 0.5])
def test_nms_agrees_with_the_greedy_walk(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    thr: float,
) -> None:
    import sys

    monkeypatch.setattr(sys.modules['lungdet.ops.nms'], 'BLOCK', block)
    for _ in range(10):
        boxes = random_boxes(rng, 60)
        scores = rng.integers(0, 6, 60) / 5  # many ties

        found = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), thr)

        assert found.tolist() == literal_nms(boxes, scores, thr)


def test_nms_of_chains_touching_nested_and_nothing() -> None:
    boxes = torch.tensor(
        [
            [0.0, 0, 0, 4, 4, 4],
            [0, 0, 2, 4, 4, 6],
            [0, 0, 4, 4, 4, 8],
            [1, 1, 1, 2, 2, 2],
            [0, 0, 8, 4, 4, 8],
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])

    # 1 falls to 0, so 2 stays; 3 is nested with IoU 1/64; 4 is empty
    assert ops.nms(boxes, scores, 0.1).tolist() == [0, 2, 3, 4]
    assert ops.nms(boxes[:0], scores[:0], 0.1).tolist() == []


def test_batched_nms_keeps_groups_apart() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4, 4, 4]]).repeat(3, 1)
    scores = torch.tensor([0.5, 0.9, 0.7])

    keep = ops.batched_nms(boxes, scores, torch.tensor([0, 1, 1]), 0.1)

    assert keep.tolist() == [1, 0]


def test_roi_pool_against_a_loop(rng: np.random.Generator) -> None:
    feature = torch.from_numpy(rng.normal(size=(2, 3, 8, 10, 12)))
    low = rng.uniform(-4, 30, (12, 3))
    boxes = np.concatenate([low, low + rng.uniform(1, 40, (12, 3))], axis=1)
    rois = torch.from_numpy(
        np.concatenate([rng.integers(0, 2, (12, 1)), boxes], axis=1)
    )
    rois[:, 1:] = ops.clip_box_centers(rois[:, 1:], (32, 40, 48))

    found = ops.roi_crop_pool(feature, rois, output_size=3)

    for roi, pooled in zip(rois, found):
        a = [max(int(np.floor((float(v) - 0.5) / 4)), 0) for v in roi[1:4]]
        b = [
            min(int(np.ceil((float(v) - 0.5) / 4)), n)
            for v, n in zip(roi[4:], (8, 10, 12))
        ]
        crop = feature[int(roi[0]), :, a[0] : b[0], a[1] : b[1], a[2] : b[2]]
        wanted = torch.nn.functional.adaptive_max_pool3d(crop, 3)
        assert torch.equal(pooled, wanted)


def test_roi_align_reads_a_linear_field_exactly() -> None:
    z, y, x = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (6, 7, 8)),
        indexing='ij',
    )
    field = (2 * z - y + 3 * x)[None, None]
    roi = torch.tensor([[0.0, 4, 5, 6, 12, 11, 18]], dtype=torch.float64)

    found = ops.roi_align(field, roi, output_size=2)

    for i, j, k in np.ndindex(2, 2, 2):
        at = [
            4 + 8 * (i + 0.5) / 2,
            5 + 6 * (j + 0.5) / 2,
            6 + 12 * (k + 0.5) / 2,
        ]
        cz, cy, cx = (v / 4 - 0.5 for v in at)  # continuous cell index
        assert float(found[0, 0, i, j, k]) == pytest.approx(
            2 * cz - cy + 3 * cx
        )
