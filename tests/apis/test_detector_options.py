"""Plain values that build a detector, here or in another process."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis.detector_options import (
    DetectorOptions,
    import_user_module,
)
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.errors import ConfigError
from lungdet.evaluation import Selection
from tests.apis.test_inferencer import threshold

__all__ = ['threshold']


def test_rules_replace_those_of_the_detector() -> None:
    usual = Selection(score_thr=0.7, merge_mm=3.0)

    assert DetectorOptions().selected(usual) == usual
    assert DetectorOptions(selection={'merge_mm': 1.0}).selected(
        usual
    ) == Selection(score_thr=0.7, merge_mm=1.0)
    assert DetectorOptions(selection=None).selected(usual) == Selection(
        None, None, None
    )


def test_a_rule_is_refused_before_weights_are_read() -> None:
    with pytest.raises(ConfigError, match='give a probability'):
        DetectorOptions(selection={'score_thr': 2.0})


@pytest.mark.usefixtures('threshold')
def test_what_was_sent_builds_the_same_detector() -> None:
    options = DetectorOptions(
        Path('w.pth'), device='cpu', selection={'score_thr': 0.5}
    )

    made = pickle.loads(pickle.dumps(options)).build()

    assert isinstance(made, NoduleInferencer)
    assert made.device == 'cpu' and made.selection == Selection(0.5)
    assert made.backend == 'torch'
    with pytest.raises(ConfigError, match="backend: 'tensorrt'; choose"):
        replace(options, backend='tensorrt').build()


@pytest.mark.usefixtures('threshold')
def test_a_rate_that_the_model_does_not_know() -> None:
    with pytest.raises(ConfigError, match='knows its score at none'):
        DetectorOptions(device='cpu', fp_rate=1.0).build()


@pytest.mark.parametrize(
    ('text', 'reason'),
    [('1 / 0', 'user_module: raises ZeroDiv'), ('import nowhere', 'nowhere')],
)
def test_a_module_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    (tmp_path / 'user_module.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=reason):
        import_user_module('user_module')
