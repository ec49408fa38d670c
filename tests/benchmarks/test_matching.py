"""How the recipes' targets fit LUNA16's own diameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.matching import diameters, matching
from lungdet.apis import load_config

CONFIGS = Path(__file__).parents[2] / 'configs'
EVERY = 4  # a quarter of the nodules: 297
BY_OVERLAP = {
    'type': 'MaxIoUAssigner3D',
    'pos_iou': 0.5,
    'neg_iou': 0.1,
    'force_match': False,
}


def test_thresholds_of_overlap_need_the_border() -> None:
    """Without it most nodules have no anchor, and proposals are lost."""
    config = load_config(
        CONFIGS / 'nodulenet_base.py', {'model.box_border': 0}
    )

    figures = matching(config, EVERY)

    assert len(diameters()) == 1186
    assert figures.no_anchor > 0.7
    assert figures.background == pytest.approx(3, abs=0.1)
    assert figures.unused[1.0] > 0.3 and figures.unused[1.5] > 0.55


def test_base_is_trained_on_proposals_at_nodules() -> None:
    figures = matching(load_config(CONFIGS / 'nodulenet_base.py'), EVERY)

    assert figures.background == pytest.approx(1, abs=0.1)
    assert figures.positives >= 1
    assert max(figures.unused.values()) < 0.05


def test_strong_recipe_uses_every_proposal_that_hits() -> None:
    config = load_config(CONFIGS / 'nodulenet_strong.py')

    figures = matching(config, EVERY)

    assert figures.background == 0
    assert figures.positives >= 5
    assert set(figures.unused.values()) == {0}
    config.model.train_cfg.rcnn.assigner = BY_OVERLAP
    assert matching(config, EVERY).unused[1.5] > 0.55
