from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lungdet.apis import precision
from lungdet.apis.precision import bfloat16_is_faster, set_precision
from lungdet.engine.detector import load_detector
from lungdet.errors import ConfigError


def model(**config: object) -> SimpleNamespace:
    return SimpleNamespace(test_cfg={'window': (32, 32, 32), **config})


@pytest.mark.parametrize(
    ('wanted', 'has', 'faster', 'expected'),
    [
        ('fp32', True, True, 'fp32'),
        ('bf16', True, False, 'bf16'),
        ('auto', True, True, 'bf16'),
        ('auto', True, False, 'fp32'),
        ('auto', False, True, 'fp32'),
    ],
)
def test_auto_is_the_faster_one(
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    has: bool,
    faster: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: has)
    monkeypatch.setattr(precision, 'bfloat16_is_faster', lambda *_: faster)
    detector = model(bf16=not has)

    assert set_precision(detector, 'cpu', wanted) == expected
    assert detector.test_cfg['bf16'] is (expected == 'bf16')


@pytest.mark.parametrize(
    ('detector', 'has'), [(model(bf16=False), False), (model(), True)]
)
def test_bfloat16_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, detector: SimpleNamespace, has: bool
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: has)

    with pytest.raises(ConfigError, match='no bfloat16; choose auto or fp32'):
        set_precision(detector, 'cpu', 'bf16')
    with pytest.raises(ConfigError, match='choose auto, fp32, bf16'):
        set_precision(detector, 'cpu', 'fp16')
    assert set_precision(object(), 'cpu', 'auto') == 'fp32'


def test_a_real_detector_is_timed_in_both(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(trained).model
    clock = iter(range(1000))
    ticks = {'n': 1}

    def now() -> float:
        return next(clock) * ticks['n']

    monkeypatch.setattr(precision.time, 'perf_counter', now)

    assert not bfloat16_is_faster(detector, (32, 32, 32))  # equal times
