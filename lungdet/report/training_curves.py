"""Training curves: logged values, smoothed, and steps to a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from terminaltables import AsciiTable

from lungdet.errors import ConfigError
from lungdet.io.files import check_regular


@dataclass(frozen=True)
class TrainingCurve:
    """A logged value over the steps of a run.

    Attributes:
        steps: (n,) iterations of training or epochs of validation, increasing.
        values: (n,) as logged.
    """

    steps: np.ndarray
    values: np.ndarray

    def smoothed(self, window: int) -> TrainingCurve:
        """Moving average over ``window`` records, at the step of the last
        one."""
        window = min(window, len(self.values))
        sums = np.cumsum(np.concatenate([[0.0], self.values]))
        means = (sums[window:] - sums[:-window]) / window
        return TrainingCurve(self.steps[window - 1 :], means)

    def steps_to(self, level: float) -> int | None:
        """The first step whose value is at most ``level``."""
        reached = np.flatnonzero(self.values <= level)
        return int(self.steps[reached[0]]) if len(reached) else None


def read_training_curve(work_dir: str | Path, key: str) -> TrainingCurve:
    """The values that a training logged under ``key``.

    A resumed run wrote several files; if two have the same step, the later
    file's value is used.

    Args:
        work_dir: Work folder of ``tools/train.py``.
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
    values: dict[int, float] = {}
    logged: set[str] = set()
    for file in files:
        for record in _records(file):
            logged |= record.keys()
            if key in record:
                step, value = record.get('step'), record[key]
                if not isinstance(step, int) or not _is_number(value):
                    raise _damaged(file, f'{key} {value!r} at step {step!r}')
                values[step] = value
    if not values:
        raise ConfigError(
            f'{work_dir}: no {key!r} was logged; logged are: '
            f'{", ".join(sorted(logged)) or "no values yet"}.'
        )
    steps = sorted(values)
    return TrainingCurve(
        np.array(steps), np.array([values[step] for step in steps])
    )


def _records(file: Path) -> list[dict[str, Any]]:
    """What was logged, one step per line.

    Raises:
        ConfigError: Not such a file.
    """
    check_regular(file, error=ConfigError)
    try:
        text = file.read_text(encoding='utf-8')
        records = [json.loads(line) for line in text.splitlines()]
    except (ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    for record in records:
        if not isinstance(record, dict):
            raise _damaged(file, f'the line {str(record)[:60]!r}')
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _damaged(file: Path, what: str) -> ConfigError:
    return ConfigError(
        f'{file}: {what} is not a training log; the file is damaged. '
        'Give the work folder of another run.'
    )


def training_table(
    curves: Mapping[str, TrainingCurve], key: str, levels: Sequence[float] = ()
) -> str:
    """Last value and the steps to each level, one line per run."""
    header = ['run', 'steps', f'last {key}', *(f'to {x:g}' for x in levels)]
    table = [header]
    for run, curve in curves.items():
        reached = [curve.steps_to(level) for level in levels]
        table.append(
            [
                run,
                str(curve.steps[-1]),
                f'{curve.values[-1]:.4g}',
                *('-' if step is None else str(step) for step in reached),
            ]
        )
    return AsciiTable(table).table


def training_figure(
    curves: Mapping[str, TrainingCurve], key: str, levels: Sequence[float] = ()
) -> Figure:
    """One line per run over its steps; ``levels`` are dotted lines."""
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
