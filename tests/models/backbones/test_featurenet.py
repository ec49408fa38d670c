from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import FeatureNet


def test_input_sides_are_checked() -> None:
    with pytest.raises(ConfigError, match='multiples of 16'):
        FeatureNet()(torch.zeros(1, 1, 40, 32, 32))
    with pytest.raises(ConfigError, match='32 or more'):
        FeatureNet().train()(torch.zeros(1, 1, 16, 16, 16))
