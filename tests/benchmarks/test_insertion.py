"""The gate of insertion: real nodules are hardly told from inserted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.insertion import Sample, area, run_gate, separation
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import read_library
from lungdet.prepare import prepare_luna16, prepare_nodules

MAX_AUC = 0.65


def balls(sharp: float, count: int, seed: int, inserted: bool) -> list[Sample]:
    """Balls of a sharpness, a patient each."""
    rng = np.random.default_rng(seed)
    away = np.sqrt(((np.indices((41, 41, 41)) - 20) ** 2).sum(0))
    return [
        Sample(
            (
                -870
                + 900 / (1 + np.exp((away - 5) * sharp))
                + rng.normal(0, 20, away.shape)
            ).astype(np.float32),
            np.full(3, 20.0),
            10.0,
            f'{seed} {number}',
            inserted,
            number,
        )
        for number in range(count)
    ]


def test_the_classifier_tells_what_differs_and_nothing_else() -> None:
    real = balls(2.0, 25, 0, False)

    alike = separation([*real, *balls(2.0, 50, 1, True)])
    sharper = separation([*real, *balls(3.0, 50, 2, True)])

    assert alike.low < 0.65 and alike.low <= alike.auc <= alike.high
    assert sharper.auc > 0.95
    assert (alike.real, alike.inserted, alike.patients) == (25, 50, 75)


def test_area_counts_ties_as_one_half() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.9])

    assert area(scores, np.array([False, False, True, True])) == 0.875


@pytest.mark.slow
@pytest.mark.xfail(
    raises=AssertionError,
    strict=True,
    reason='AUC .666: the gate is missed, see docs/insertion.md',
)
def test_inserted_nodules_pass_for_real_ones(
    test_data: Path, tmp_path: Path
) -> None:
    if not (test_data / 'nodule-cubes').is_dir():
        pytest.skip('no nodule cubes in LUNGDET_TEST_DATA')
    library = tmp_path / 'nodules.npz'
    prepare_nodules(test_data / 'nodule-cubes' / 'lidc_voi.npz', library)
    for name in ('luna16-mini', 'luna16-more'):
        root = test_data / name
        prepare_luna16(root, tmp_path / 'store', lidc_xml=root / 'xml')

    result = run_gate(
        test_data, CaseStore(tmp_path / 'store'), read_library(library), 5
    )

    assert result.auc < MAX_AUC
