"""Progress of a detector in a case, counted in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lungdet.data_sample import DetDataSample

OnWindows = Callable[[int, int], None]


@contextmanager
def watch_windows(
    model: Any, sample: DetDataSample, on_windows: OnWindows | None
) -> Iterator[None]:
    """Report each batch of windows that leaves the backbone.

    A detector without ``case_predictor`` or ``backbone`` reports nothing.

    Args:
        model: The detector.
        sample: Sample of the case; its metainfo has ``img_shape``.
        on_windows: Called with (done, all); None for no reports.
    """
    backbone = getattr(model, 'backbone', None)
    if on_windows is None or not hasattr(model, 'case_predictor'):
        yield
        return
    case = torch.empty((1, *sample.img_shape), device='meta')
    total = len(model.case_predictor().windows(case, sample))
    done = 0

    def count(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal done
        done += len(inputs[0])
        on_windows(min(done, total), total)

    hook = backbone and backbone.register_forward_hook(count)
    try:
        yield
    finally:
        if hook:
            hook.remove()
