"""Boxes against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.ops import box_iou, clip_box_centers
from tests.oracles.reference import edges, index_form, vectors


def test_clip_box_centers() -> None:
    stored = vectors()['clip_center']

    clipped = clip_box_centers(edges(stored['boxes']), stored['img'])

    np.testing.assert_allclose(index_form(clipped), stored['clipped'])


@pytest.mark.parametrize(
    ('key', 'dtype', 'atol'),
    [
        ('float64', torch.float64, 1e-12),
        ('float32_cpp', torch.float32, 1e-6),
    ],
)
def test_iou_including_touching_nested_and_empty(
    key: str, dtype: torch.dtype, atol: float
) -> None:
    stored = vectors()['iou']
    wanted = np.array(stored[key], dtype=np.float64)  # null -> nan

    iou = box_iou(edges(stored['A']).to(dtype), edges(stored['B']).to(dtype))

    assert iou.dtype == dtype
    np.testing.assert_allclose(iou, np.nan_to_num(wanted), atol=atol)
