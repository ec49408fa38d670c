"""Training curves: what a run logged, smoothed, and the steps to a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lungdet.errors import ConfigError


@dataclass(frozen=True)
class Curve:
    """A logged value over the steps of a run.

    Attributes:
        steps: (n,) iterations of training, epochs of validation; rising.
        values: (n,) as logged.
    """

    steps: np.ndarray
    values: np.ndarray

    def smoothed(self, window: int) -> Curve:
        """Means of ``window`` records each, at the last one's step."""
        window = min(window, len(self.values))
        sums = np.cumsum(np.concatenate([[0.0], self.values]))
        means = (sums[window:] - sums[:-window]) / window
        return Curve(self.steps[window - 1 :], means)

    def steps_to(self, level: float) -> int | None:
        """The first step whose value is at most ``level``."""
        reached = np.flatnonzero(self.values <= level)
        return int(self.steps[reached[0]]) if len(reached) else None


def read_curve(work_dir: str | Path, key: str) -> Curve:
    """What a training logged under ``key``.

    A run that was resumed wrote several files; of a step that two of them
    hold, the later one's value counts.

    Args:
        work_dir: Of ``tools/train.py``.
        key: Such as ``loss_rpn_cls``.

    Raises:
        FileNotFoundError: No log in the folder.
        ConfigError: The key was not logged.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(
            f'{work_dir}: no */vis_data/scalars.json there; give the work '
            'folder of a training.'
        )
    found: dict[int, float] = {}
    known: set[str] = set()
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            record = json.loads(line)
            known |= record.keys()
            if key in record:
                found[record['step']] = record[key]
    if not found:
        raise ConfigError(
            f'{work_dir}: no {key!r} was logged; there are '
            f'{", ".join(sorted(known))}.'
        )
    steps = sorted(found)
    return Curve(np.array(steps), np.array([found[step] for step in steps]))


def curve_figure(
    curves: Mapping[str, Curve], key: str, levels: Sequence[float] = ()
) -> Figure:
    """One line a run over its steps; ``levels`` as dotted lines."""
    figure = Figure(figsize=(7, 4.2), layout='constrained')
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(curve.steps, curve.values, label=name, linewidth=1.2)
    for level in levels:
        axes.axhline(level, color='0.5', linestyle=':', linewidth=0.8)
    axes.set_xlabel('steps')
    axes.set_ylabel(key)
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('{x:g}')
    axes.grid(alpha=0.3, which='both')
    axes.legend(fontsize=8)
    return figure
