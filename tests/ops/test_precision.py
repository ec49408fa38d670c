from __future__ import annotations

import warnings

import pytest
import torch

from lungdet.ops import bfloat16_autocast, precision


@pytest.mark.filterwarnings('default')
def test_float32_where_the_processor_would_emulate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = torch.nn.Linear(2, 3), torch.ones(1, 2)
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: False)
    with pytest.warns(UserWarning, match='this cpu has no bfloat16'):
        context = bfloat16_autocast('cpu')
    with context:
        assert layer(x).dtype == torch.float32

    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with bfloat16_autocast('cpu'):
            assert layer(x).dtype == torch.bfloat16
        with bfloat16_autocast('cpu', False):
            assert layer(x).dtype == torch.float32
