from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet import ops
from lungdet.ops import roi_pool


def test_roi_pool_against_a_loop(rng: np.random.Generator) -> None:
    feature = torch.from_numpy(rng.normal(size=(2, 3, 8, 10, 12)))
    low = rng.uniform(-4, 30, (12, 3))
    boxes = np.concatenate([low, low + rng.uniform(1, 40, (12, 3))], axis=1)
    rois = torch.from_numpy(
        np.concatenate([rng.integers(0, 2, (12, 1)), boxes], axis=1)
    )
    rois[:, 1:] = ops.clip_box_centers(rois[:, 1:], (32, 40, 48))

    pooled = ops.roi_crop_pool(feature, rois, output_size=3, stride=4)

    for roi, values in zip(rois, pooled):
        a = [max(int(np.floor((float(v) - 0.5) / 4)), 0) for v in roi[1:4]]
        b = [
            min(int(np.ceil((float(v) - 0.5) / 4)), n)
            for v, n in zip(roi[4:], (8, 10, 12))
        ]
        crop = feature[int(roi[0]), :, a[0] : b[0], a[1] : b[1], a[2] : b[2]]
        wanted = torch.nn.functional.adaptive_max_pool3d(crop, 3)
        assert torch.equal(values, wanted)


def test_roi_pool_gradient_goes_to_the_maxima(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one RoI a chunk: the grouping must not change the order of the rows
    monkeypatch.setattr(roi_pool, 'CHUNK_VALUES', 1)
    feature = torch.from_numpy(rng.normal(size=(2, 3, 18, 10, 12)))
    feature.requires_grad_()
    other = feature.detach().clone().requires_grad_()
    boxes = [[0, 1, 1, 1, 70, 30, 40], [1, 9, 5, 13, 17, 17, 33]]
    boxes += [[0, 5, 5, 5, 9, 9, 9], [1, 1, 1, 1, 33, 37, 45]]
    weight = torch.from_numpy(rng.normal(size=(4, 3, 7, 7, 7)))

    (
        ops.roi_crop_pool(
            feature, torch.tensor(boxes) + 0.5, output_size=7, stride=4
        )
        * weight
    ).sum().backward()
    for (b, *box), w in zip(boxes, weight):
        z1, y1, x1 = (v // 4 for v in box[:3])
        z2, y2, x2 = (-(-v // 4) for v in box[3:])
        crop = other[b, :, z1:z2, y1:y2, x1:x2]
        pooled = torch.nn.functional.adaptive_max_pool3d(crop, 7)
        (pooled * w).sum().backward()

    torch.testing.assert_close(feature.grad, other.grad)


def test_roi_pool_without_rois_keeps_the_graph() -> None:
    feature = torch.rand(1, 2, 3, 4, 5, requires_grad=True)

    pooled = ops.roi_crop_pool(
        feature, torch.zeros(0, 7), output_size=7, stride=4
    )
    pooled.sum().backward()

    assert pooled.shape == (0, 2, 7, 7, 7)
    assert float(feature.grad.abs().sum()) == 0


def literal_trilinear(
    volume: np.ndarray, point: tuple[float, float, float]
) -> np.ndarray:
    """Value (C,) of (C, D, H, W) at a continuous cell index, border kept."""
    at = [min(max(p, 0), n - 1) for p, n in zip(point, volume.shape[1:])]
    low = [min(int(np.floor(p)), n - 1) for p, n in zip(at, volume.shape[1:])]
    total = np.zeros(len(volume))
    for corner in np.ndindex(2, 2, 2):
        weight, where = 1.0, []
        for axis in range(3):
            part = at[axis] - low[axis]
            weight *= part if corner[axis] else 1 - part
            end = volume.shape[axis + 1] - 1
            where.append(min(low[axis] + corner[axis], end))
        total += weight * volume[:, where[0], where[1], where[2]]
    return total


def test_roi_align_against_a_literal_trilinear(
    rng: np.random.Generator,
) -> None:
    feature = rng.normal(size=(2, 3, 6, 7, 8))
    low = rng.uniform(-6, 20, (9, 3))
    boxes = np.concatenate([low, low + rng.uniform(1, 20, (9, 3))], axis=1)
    image = rng.integers(0, 2, (9, 1))
    rois = torch.from_numpy(np.concatenate([image, boxes], axis=1))

    sampled = ops.roi_align(
        torch.from_numpy(feature), rois, output_size=3, stride=4
    )

    for row, (b, box) in enumerate(zip(image[:, 0], boxes)):
        for bins in np.ndindex(3, 3, 3):
            side = box[3:] - box[:3]
            point = (box[:3] + side * (np.array(bins) + 0.5) / 3) / 4 - 0.5
            np.testing.assert_allclose(
                sampled[(row, slice(None), *bins)],
                literal_trilinear(feature[b], point),
                atol=1e-12,
            )


def test_roi_align_of_bf16_features_keeps_exact_positions() -> None:
    feature = torch.arange(64.0).expand(1, 1, 2, 2, 64)
    roi = torch.tensor([[0.0, 0, 0, 200.6, 8, 8, 205.4]])

    sampled = ops.roi_align(feature.bfloat16(), roi, output_size=1, stride=4)

    # the sample lies at x = 203, cell 50.25; bf16 keeps values of 1/4 here
    assert sampled.dtype == torch.bfloat16
    assert sampled.item() == pytest.approx(50.25)


def test_roi_align_reads_a_linear_field_exactly() -> None:
    z, y, x = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (6, 7, 8)),
        indexing='ij',
    )
    field = (2 * z - y + 3 * x)[None, None]
    roi = torch.tensor([[0.0, 4, 5, 6, 12, 11, 18]], dtype=torch.float64)

    sampled = ops.roi_align(field, roi, output_size=2, stride=4)

    for i, j, k in np.ndindex(2, 2, 2):
        at = [
            4 + 8 * (i + 0.5) / 2,
            5 + 6 * (j + 0.5) / 2,
            6 + 12 * (k + 0.5) / 2,
        ]
        cz, cy, cx = (v / 4 - 0.5 for v in at)  # continuous cell index
        assert float(sampled[0, 0, i, j, k]) == pytest.approx(
            2 * cz - cy + 3 * cx
        )
