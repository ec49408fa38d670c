"""Which of our classes offer what a run asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from lungdet.apis import load_config
from lungdet.datasets import LUNA16Dataset, LungCropDataset
from lungdet.engine import FROCMetric, protocols
from lungdet.models.plugins import SE3D
from lungdet.registry import build_model

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'detects'), [('nodulenet_demo', True), ('genesis_demo', False)]
)
def test_detectors_offer_what_pretraining_models_do_not(
    name: str, detects: bool
) -> None:
    model = build_model(load_config(CONFIGS / f'{name}.py').model)

    for protocol in (
        protocols.FollowsEpochs,
        protocols.FollowsTraining,
        protocols.CaseDetector,
        protocols.HasRPNHead,
    ):
        assert isinstance(model, protocol) is detects, protocol


def test_plugins_metrics_and_data_sets_offer_theirs() -> None:
    assert isinstance(SE3D(8), protocols.BlockPlugin)
    assert not isinstance(nn.Conv3d(1, 1, 1), protocols.BlockPlugin)
    assert isinstance(FROCMetric(), protocols.StatesCaveats)
    assert hasattr(LUNA16Dataset, 'largest_sample')
    assert not hasattr(LungCropDataset, 'largest_sample')
