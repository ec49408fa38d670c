"""The gate of insertion: real nodules are hardly told from inserted ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.insertion import (
    Separation,
    features,
    noise_table,
    run_gate,
    separation,
)
from benchmarks.insertion_pairs import NodulePatch
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import read_library
from lungdet.prepare import prepare_luna16, prepare_nodules

MAX_AUC = 0.65


def balls(
    sharp: float, count: int, seed: int, inserted: bool
) -> list[NodulePatch]:
    """Balls of a sharpness, a patient each."""
    rng = np.random.default_rng(seed)
    away = np.sqrt(((np.indices((41, 41, 41)) - 20) ** 2).sum(0))
    return [
        NodulePatch(
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


def told_apart(samples: list[NodulePatch]) -> Separation:
    return separation(samples, np.array([features(s) for s in samples]))


def test_the_classifier_tells_what_differs() -> None:
    real = balls(2.0, 25, 0, False)

    sharper = told_apart([*real, *balls(3.0, 50, 2, True)])

    assert sharper.auc > 0.95 and sharper.low > 0.9
    assert (sharper.real, sharper.inserted, sharper.patients) == (25, 50, 75)


def test_noise_is_compared_by_shell_and_inside_with_outside() -> None:
    real = balls(2.0, 25, 0, False)
    away = np.linalg.norm(np.indices((41, 41, 41)) - 20, axis=0)
    rng = np.random.default_rng(1)
    noisy = []
    for sample in balls(2.0, 25, 2, True):
        noise = rng.normal(0, 40, sample.image.shape)
        outside = away > 1.3 * sample.diameter / 2
        noisy.append(replace(sample, image=sample.image + outside * noise))
    drawn = [*real, *noisy]

    noise = noise_table(drawn, np.array([features(s) for s in drawn]))

    assert np.abs(noise['inside'][:2, 0] - 1).max() < 0.1
    assert (noise['out'][:2, 1] > 1.5).all()
    assert noise['inside / out'][:, 0] == pytest.approx(
        noise['inside'][:, 0] / noise['out'][:, 0]
    )
    for value, low, high in np.concatenate(list(noise.values())):
        assert low <= value <= high


def test_identical_samples_are_not_told_apart() -> None:
    real = balls(2.0, 25, 0, False)

    same = told_apart([*real, *(replace(s, inserted=True) for s in real)])

    # a twin in the training folds would push the area below .5
    assert same.low <= 0.5 <= same.high
    assert same.auc == 0.5


@pytest.mark.slow
def test_samples_of_one_kind_are_told_apart_by_chance() -> None:
    draws = [
        told_apart(
            [*balls(2.0, 25, seed, False), *balls(2.0, 50, seed + 1, True)]
        )
        for seed in range(0, 32, 2)
    ]

    # of 16 intervals of 95 %, fewer than 12 hold .5 once in 1000 times
    assert sum(one.low <= 0.5 <= one.high for one in draws) >= 12


@pytest.mark.slow
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
