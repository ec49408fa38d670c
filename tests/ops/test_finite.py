from __future__ import annotations

import pytest
import torch

from lungdet.errors import DivergenceError
from lungdet.ops import check_finite


def test_every_broken_value_is_counted() -> None:
    values = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf])

    with pytest.raises(DivergenceError, match='maps: 3 of 7 values'):
        check_finite('maps', torch.zeros(3), values)


def test_large_finite_values_pass() -> None:
    check_finite('maps', torch.full((8,), 3e38), torch.empty(0))
