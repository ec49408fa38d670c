from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lungdet.apis import precision
from lungdet.apis.precision import (
    Arithmetic,
    choose_arithmetic,
    seconds_of_window,
)
from lungdet.engine.detector import load_detector
from lungdet.errors import ConfigError
from lungdet.ops import computes_bfloat16


class Model(SimpleNamespace):
    """A detector with both choices, in the memory format of its config."""

    channels_last = True

    def set_channels_last(self, channels_last: bool) -> None:
        self.channels_last = channels_last


def model(**config: object) -> Model:
    return Model(test_cfg={'window': (32, 32, 32), **config})


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[Arithmetic, float]:
    """Seconds that a window takes in each way, slow by default."""
    known: dict[Arithmetic, float] = {}
    monkeypatch.setattr(
        precision,
        'seconds_of_window',
        lambda _, way: known.get(way, 2.0),
    )
    return known


@pytest.mark.parametrize(
    ('has', 'fastest', 'expected'),
    [
        (True, ('bf16', 'contiguous'), ('bf16', 'contiguous')),
        (True, ('bf16', 'channels_last'), ('bf16', 'channels_last')),
        (True, ('fp32', 'channels_last'), ('fp32', 'channels_last')),
        (False, ('bf16', 'channels_last'), ('fp32', 'contiguous')),
    ],
)
def test_a_cpu_takes_the_fastest_way(
    monkeypatch: pytest.MonkeyPatch,
    times: dict[Arithmetic, float],
    has: bool,
    fastest: tuple[str, str],
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: has)
    times[Arithmetic(*fastest)] = 1.0
    detector = model(bf16=not has)

    assert choose_arithmetic(detector, 'cpu', 'auto') == expected
    assert detector.test_cfg['bf16'] is (expected[0] == 'bf16')
    assert detector.channels_last is (expected[1] == 'channels_last')


@pytest.mark.parametrize('wanted', ['fp32', 'bf16'])
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
def test_a_named_precision_is_not_timed_so_that_runs_repeat(
    monkeypatch: pytest.MonkeyPatch, wanted: str, layout: str
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: True)
    monkeypatch.setattr(precision, 'seconds_of_window', lambda *_: 1 / 0)
    detector = model(bf16=False)
    detector.channels_last = layout == 'channels_last'

    assert choose_arithmetic(detector, 'cpu', wanted) == (wanted, layout)


@pytest.mark.parametrize('has', [True, False])
def test_a_gpu_is_not_timed_and_keeps_the_memory_format(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: has)
    monkeypatch.setattr(precision, 'seconds_of_window', lambda *_: 1 / 0)

    chosen = choose_arithmetic(model(bf16=False), 'cuda', 'auto')

    assert chosen == ('bf16' if has else 'fp32', 'channels_last')


@pytest.mark.parametrize(
    ('detector', 'has'), [(model(bf16=False), False), (model(), True)]
)
def test_bfloat16_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
    times: dict[Arithmetic, float],
    detector: Model,
    has: bool,
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: has)

    with pytest.raises(ConfigError, match='no bfloat16; choose auto or fp32'):
        choose_arithmetic(detector, 'cpu', 'bf16')
    with pytest.raises(ConfigError, match='choose auto, fp32, bf16'):
        choose_arithmetic(detector, 'cpu', 'fp16')
    assert choose_arithmetic(detector, 'cpu', 'auto').precision == 'fp32'
    assert choose_arithmetic(object(), 'cpu', 'auto') == ('fp32', None)


def test_all_members_of_an_ensemble_compute_alike(
    monkeypatch: pytest.MonkeyPatch, times: dict[Arithmetic, float]
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda kind: True)
    times[Arithmetic('bf16', 'contiguous')] = 1.0
    members = [model(bf16=False), model(bf16=False)]

    choose_arithmetic(SimpleNamespace(members=members), 'cpu', 'auto')

    assert [m.test_cfg['bf16'] for m in members] == [True, True]
    assert [m.channels_last for m in members] == [False, False]


def test_a_real_detector_computes_as_it_is_timed(trained: Path) -> None:
    detector = load_detector(trained).model
    computed: list[tuple[bool, torch.dtype]] = []

    def note(module: object, inputs: object, output: tuple) -> None:
        computed.append((detector.channels_last, output[0].dtype))

    detector.backbone.register_forward_hook(note)
    precisions = ['fp32', 'bf16'] if computes_bfloat16('cpu') else ['fp32']
    for name in precisions:
        for layout in ('channels_last', 'contiguous'):
            computed.clear()
            assert seconds_of_window(detector, Arithmetic(name, layout)) > 0
            dtype = torch.bfloat16 if name == 'bf16' else torch.float32
            assert {*computed} == {(layout == 'channels_last', dtype)}
