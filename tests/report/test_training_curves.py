from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.report.training_curves import (
    TrainingCurve,
    read_training_curve,
    training_figure,
    training_table,
)


def write_log(work_dir: Path, name: str, records: list[dict]) -> None:
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')


def test_later_log_of_a_resumed_run_counts(tmp_path: Path) -> None:
    first = [{'step': k, 'loss': 9.0 - k} for k in (1, 2, 3)]
    again = [{'step': k, 'loss': 0.5} for k in (3, 4)]
    write_log(
        tmp_path, '20260101_000000', [*first, {'step': 1, 'froc/cpm': 0.5}]
    )
    write_log(tmp_path, '20260102_000000', again)

    curve = read_training_curve(tmp_path, 'loss')

    np.testing.assert_array_equal(curve.steps, [1, 2, 3, 4])
    np.testing.assert_array_equal(curve.values, [8, 7, 0.5, 0.5])
    assert read_training_curve(tmp_path, 'froc/cpm').values == [0.5]


def test_smoothing_is_the_mean_of_the_last_records(
    rng: np.random.Generator,
) -> None:
    values = rng.random(20)

    smooth = TrainingCurve(np.arange(20) * 10, values).smoothed(4)

    literal = [values[k - 3 : k + 1].mean() for k in range(3, 20)]
    np.testing.assert_allclose(smooth.values, literal)
    np.testing.assert_array_equal(smooth.steps, np.arange(3, 20) * 10)


def test_smoothing_of_few_records_leaves_one() -> None:
    smooth = TrainingCurve(np.array([5, 6]), np.array([1.0, 3.0])).smoothed(9)

    np.testing.assert_array_equal(smooth.values, [2.0])
    np.testing.assert_array_equal(smooth.steps, [6])


def test_steps_to_a_level() -> None:
    curve = TrainingCurve(
        np.array([10, 20, 30, 40]), np.array([4.0, 2.0, 3.0, 1.0])
    )

    assert curve.steps_to(2.0) == 20
    assert curve.steps_to(1.5) == 40
    assert curve.steps_to(0.5) is None


def test_missing_log_and_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='scalars.json'):
        read_training_curve(tmp_path, 'loss')
    write_log(tmp_path, '20260101_000000', [{'step': 1, 'loss_a': 1.0}])

    with pytest.raises(ConfigError, match="no 'loss' was logged.*loss_a"):
        read_training_curve(tmp_path, 'loss')


def test_figure_shows_every_run_and_level() -> None:
    curve = TrainingCurve(np.array([1, 2]), np.array([2.0, 1.0]))

    (axes,) = training_figure({'a': curve, 'b': curve}, 'loss', [1.5]).axes

    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ['a', 'b']
    assert [1.5, 1.5] in [list(line.get_ydata()) for line in axes.lines]


def test_table_shows_the_steps_to_each_level() -> None:
    curve = TrainingCurve(np.array([10, 20, 30]), np.array([4.0, 2.0, 3.0]))

    lines = training_table({'a': curve}, 'loss', [2.5, 0.5]).splitlines()

    cells = [cell.strip() for cell in lines[3].split('|')[1:-1]]
    assert cells == ['a', '30', '3', '20', '-']
