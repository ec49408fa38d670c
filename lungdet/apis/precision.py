"""How a detector computes: in which precision and memory format."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from lungdet.errors import ConfigError
from lungdet.ops import bfloat16_autocast, computes_bfloat16

PRECISIONS = ('auto', 'fp32', 'bf16')
FORMATS = ('contiguous', 'channels_last')
TIMED_SIDE = 64  # voxels of the window that is timed, at most
REPEATS = 2  # the first run of a shape prepares the next ones


class Arithmetic(NamedTuple):
    """How a detector computes.

    Attributes:
        precision: ``'fp32'`` or ``'bf16'``.
        memory_format: Memory format of the backbone's maps, ``'contiguous'``
            or ``'channels_last'``; None where the detector has no choice.
    """

    precision: str
    memory_format: str | None

    def set(self, models: Sequence[Any]) -> None:
        """Apply it to models."""
        for model in models:
            if 'bf16' in (getattr(model, 'test_cfg', None) or {}):
                model.test_cfg['bf16'] = self.precision == 'bf16'
            if self.memory_format is not None:
                model.set_channels_last(self.memory_format == 'channels_last')


def choose_arithmetic(model: Any, device: str, wanted: str) -> Arithmetic:
    """Set a detector to the fastest arithmetic that the user allows.

    For ``'auto'`` on a CPU, a window is timed with each choice, since not
    every CPU with bfloat16 is fast in it; on a GPU it is bfloat16, if the GPU
    has it. Otherwise nothing is timed and the memory format is the config's,
    so that two runs on one machine compute the same numbers.

    Args:
        model: The detector, or an ensemble, which is changed. One whose
            ``test_cfg`` has no ``bf16`` runs in float32, one without
            ``set_channels_last`` keeps its memory format.
        device: Where it is.
        wanted: One of ``PRECISIONS``.

    Raises:
        ConfigError: Another word, or no bfloat16 on this device.
    """
    if wanted not in PRECISIONS:
        raise ConfigError(
            f'precision: {wanted!r}; choose {", ".join(PRECISIONS)}.'
        )
    models = list(getattr(model, 'members', [model]))
    kind = torch.device(device).type
    choices = [
        Arithmetic(*choice)
        for choice in itertools.product(
            _precisions(models[0], kind, wanted),
            _formats(models[0], kind, wanted),
        )
    ]
    chosen = choices[0]
    if len(choices) > 1:
        chosen = min(
            choices, key=lambda choice: seconds_of_window(model, choice)
        )
    chosen.set(models)
    return chosen


def _precisions(model: Any, kind: str, wanted: str) -> list[str]:
    """Precisions from which the fastest is chosen."""
    config = getattr(model, 'test_cfg', None) or {}
    has_bf16 = 'bf16' in config and computes_bfloat16(kind)
    if wanted == 'bf16' and not has_bf16:
        raise ConfigError(
            f'precision: bf16, but this {kind} or detector has no bfloat16; '
            'choose auto or fp32.'
        )
    if wanted == 'fp32' or not has_bf16:
        return ['fp32']
    return ['fp32', 'bf16'] if wanted == 'auto' and kind == 'cpu' else ['bf16']


def _formats(model: Any, kind: str, wanted: str) -> list[str | None]:
    if not hasattr(model, 'set_channels_last'):
        return [None]
    if wanted == 'auto' and kind == 'cpu':
        return [*FORMATS]
    return [FORMATS[model.channels_last]]


def seconds_of_window(model: Any, arithmetic: Arithmetic) -> float:
    """The shortest time of a few runs of a small window on the CPU.

    Args:
        model: The detector, or an ensemble; it keeps this arithmetic.
        arithmetic: How it computes.
    """
    models = list(getattr(model, 'members', [model]))
    arithmetic.set(models)
    window = models[0].test_cfg['window'] or (TIMED_SIDE,) * 3
    images = torch.zeros((1, 1, *(min(side, TIMED_SIDE) for side in window)))
    times = []
    with (
        torch.inference_mode(),
        bfloat16_autocast('cpu', arithmetic.precision == 'bf16'),
    ):
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            model.predict_window(images)
            times.append(time.perf_counter() - started)
    return min(times[1:])
