from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lungdet.apis import load_config
from lungdet.apis.model_cost import model_cost
from lungdet.registry import build_model

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'head'),
    [('nodulenet_demo', 'rpn_head'), ('genesis_demo', 'head')],
)
def test_parts_add_up_and_arithmetic_grows_with_the_crop(
    name: str, head: str
) -> None:
    model = build_model(load_config(CONFIGS / f'{name}.py').model)

    small, large = model_cost(model, 32), model_cost(model, 64)

    assert small.parameters == large.parameters
    assert small.parameters[head] > 0
    total = sum(p.numel() for p in model.parameters())
    assert sum(small.parameters.values()) == total
    assert f'{total:,}' in small.text() and 'at 32^3' in small.text()
    # convolutions alone: each voxel costs the same
    assert large.multiply_adds == pytest.approx(8 * small.multiply_adds)


def test_dense_head_adds_its_convolutions() -> None:
    model = build_model(load_config(CONFIGS / 'nodulenet_demo.py').model)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval().extract_feat(torch.zeros(1, 1, 32, 32, 32))

    whole = model_cost(model, 32).multiply_adds

    # 8^3 cells: 24 to 32 channels, then 1 + 6 numbers of 4 anchors
    head = 8**3 * 32 * (24 + 7 * 4)
    assert whole == counter.get_total_flops() / 2 + head
