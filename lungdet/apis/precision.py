"""Whether a detector runs in float32 or bfloat16."""

from __future__ import annotations

import time
from typing import Any

import torch

from lungdet.engine.protocols import CaseDetector
from lungdet.errors import ConfigError
from lungdet.ops import bfloat16_autocast, computes_bfloat16

PRECISIONS = ('auto', 'fp32', 'bf16')
TIMED_SIDE = 64  # voxels of the window that is timed, at most
REPEATS = 2  # the first run of a shape prepares the next ones


def set_precision(model: Any, device: str, wanted: str) -> str:
    """Let a detector run in a precision, by its ``test_cfg``.

    Args:
        model: The detector; one without ``test_cfg`` runs in float32.
        device: Where it is.
        wanted: ``'fp32'``, ``'bf16'``, or ``'auto'``: the faster one. A CPU is
            asked by a window in each, since not all that have bfloat16 are
            fast in it.

    Returns:
        ``'fp32'`` or ``'bf16'``.

    Raises:
        ConfigError: Another word, or bfloat16 where there is none.
    """
    if wanted not in PRECISIONS:
        raise ConfigError(
            f'precision: {wanted!r}; choose {", ".join(PRECISIONS)}.'
        )
    first = getattr(model, 'members', [model])[0]  # of an ensemble
    config: dict[str, Any] = getattr(first, 'test_cfg', None) or {}
    kind = torch.device(device).type
    has_bf16 = 'bf16' in config
    if wanted == 'bf16' and not (has_bf16 and computes_bfloat16(kind)):
        raise ConfigError(
            f'precision: bf16, but this {kind} or detector has no bfloat16; '
            'choose auto or fp32.'
        )
    if not has_bf16:
        return 'fp32'
    config['bf16'] = wanted == 'bf16' or (
        wanted == 'auto'
        and computes_bfloat16(kind)
        and (kind != 'cpu' or bfloat16_is_faster(model, config['window']))
    )
    return 'bf16' if config['bf16'] else 'fp32'


def bfloat16_is_faster(model: CaseDetector, window: Any) -> bool:
    """Whether a small window takes less time in bfloat16 on the CPU."""
    sides = [min(side, TIMED_SIDE) for side in window or (TIMED_SIDE,) * 3]
    images = torch.zeros((1, 1, *sides))
    return _seconds(model, images, True) < _seconds(model, images, False)


def _seconds(model: Any, images: torch.Tensor, bf16: bool) -> float:
    """The shortest time of a few runs."""
    times = []
    with torch.inference_mode(), bfloat16_autocast('cpu', bf16):
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            model.predict_window(images)
            times.append(time.perf_counter() - started)
    return min(times[1:])
