"""Impressions: the regression, the measures and the bar, on known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.impression_features import (
    LUNG_HU,
    SIDE,
    crop,
    detector_features,
    measured,
)
from benchmarks.impressions import (
    PENALTIES,
    RATINGS,
    Agreement,
    Estimate,
    agreements,
    cross_validated,
    kappas,
    report,
    ridge,
)
from lungdet.engine.release import shipped_release
from lungdet.errors import SeriesError
from lungdet.io.nodule_library import LibraryNodule
from tests.io.nodules import ball_nodule

SPICULATION = RATINGS[1]
MET = Agreement(
    Estimate(0.9, 0.8, 0.95),
    Estimate(0.7, 0.6, 0.8),
    (Estimate(0.2, 0.1, 0.3), Estimate(0.03, 0.01, 0.05)),
)


def rated(count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings, patients of two nodules, and a feature that tells nothing."""
    rng = np.random.default_rng(1)
    patients = np.repeat([f'P{n}' for n in range(count // 2)], 2)
    values = rng.integers(1, 6, count).astype(float)
    return values, patients, rng.normal(size=(count, 1))


def test_predictions_of_ridge_leave_their_row_out() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 3))
    table = (table - table.mean(0)) / table.std(0)
    target = table @ [1.0, -2.0, 0.5] + rng.normal(size=40)
    test = rng.normal(size=(5, 3))

    def literal(rows: np.ndarray, at: np.ndarray, penalty: float) -> float:
        one = np.c_[np.ones(len(rows)), table[rows]]
        gram = one.T @ one + np.diag([0, *[penalty] * 3])
        return np.r_[1, at] @ np.linalg.solve(gram, one.T @ target[rows])

    every = np.arange(40)
    by_penalty = [
        [literal(np.delete(every, n), table[n], p) for n in every]
        for p in PENALTIES
    ]
    errors = ((np.array(by_penalty) - target) ** 2).sum(1)
    best = int(errors.argmin())

    left_out, predicted = ridge(table, target, test)

    assert left_out == pytest.approx(by_penalty[best], rel=1e-4)
    assert predicted == pytest.approx(
        [literal(every, row, PENALTIES[best]) for row in test], rel=1e-4
    )


def test_kappa_of_a_worked_table_and_of_weights() -> None:
    levels = np.array([0, 0, 1, 2, 2, 1])
    other = np.array([0, 1, 1, 2, 0, 1])
    # disagreement 1 + 4; by chance 36 pairs of squared differences / 6:
    # counts (2, 2, 2) against (2, 3, 1) differ by 0, 1, 4
    chance = (2 * (3 + 4) + 2 * (2 + 1) + 2 * (4 * 2 + 3)) / 6
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 2, 0, 1]])

    plain, weighted = kappas(levels, other, weights)

    assert plain == pytest.approx(1 - 5 / chance)
    assert weighted == 1


def test_no_nodule_of_a_tested_patient_is_learnt_from() -> None:
    """One column a patient tells the rating of all others of the patient."""
    _, patients, _ = rated()
    numbers = np.unique(patients, return_inverse=True)[1]
    values = (
        np.random.default_rng(2).integers(1, 6, 150)[numbers].astype(float)
    )

    scores, _ = cross_validated(
        np.eye(150)[numbers], values, (2.5, 3.5), patients
    )

    assert abs(np.corrcoef(scores, values)[0, 1]) < 0.3


def test_a_feature_that_tells_is_told_from_one_that_does_not() -> None:
    values, patients, nothing = rated()
    tells = values[:, None] + 0.3 * nothing
    sets = {'diameter': nothing, 'mean HU': nothing, 'all': tells}

    none, _, good = agreements(SPICULATION, sets, values, patients).values()

    assert none.auc.low < 0.55 and none.kappa.low < 0.1
    assert good.auc.value > 0.99 and good.kappa.value > 0.9
    assert good.gain[0].value == pytest.approx(good.auc.value - none.auc.value)
    assert good.useful and not none.useful


@pytest.mark.parametrize(
    'changed',
    [
        {'auc': Estimate(0.84, 0.8, 0.9)},
        {'kappa': Estimate(0.59, 0.5, 0.7)},
        {'gain': (Estimate(0.04, 0.01, 0.1), MET.gain[1])},
        {'gain': (Estimate(0.2, -0.01, 0.4), MET.gain[1])},
        {'gain': (MET.gain[0], Estimate(0.03, -0.01, 0.1))},
    ],
)
def test_each_condition_of_the_bar_counts(changed: dict) -> None:
    assert MET.useful
    assert not replace(MET, **changed).useful


def test_measured_hu_are_those_inside_and_beside_the_outline() -> None:
    shell = ball_nodule('a', diameter_mm=12.0, spacing=(1.0, 1.0, 1.0))
    hu = np.where(shell.mask, 40, -870).astype(np.int16)

    mean, *quantiles = measured(replace(shell, hu=hu))

    assert mean == 40
    assert quantiles == [40] * 10 + [-870] * 5


def test_crop_has_the_nodule_in_its_middle_and_lung_beyond() -> None:
    nodule = ball_nodule('a', shape=(7, 40, 38))

    image = crop(nodule, 1.0)

    middle = (SIDE - 1) / 2
    bright = np.argwhere(image > -400)
    assert bright.mean(0) == pytest.approx([middle] * 3, abs=0.1)
    assert np.ptp(bright, axis=0) == pytest.approx([8] * 3, abs=1)
    assert image[[0, -1]] == pytest.approx(LUNG_HU)


def test_features_of_the_shipped_detector_do_not_depend_on_the_batch() -> None:
    nodules = [
        ball_nodule(str(n), diameter_mm=5.0 + n, tissue_hu=hu)
        for n, hu in enumerate((40, -500))
    ]

    both = detector_features(nodules, shipped_release())
    alone = detector_features(nodules[1:], shipped_release())

    assert both.shape[0] == 2 and np.isfinite(both).all()
    assert both[1] == pytest.approx(alone[0], rel=0.05, abs=0.05)
    assert np.abs(both[0] - both[1]).max() > 0.5


def test_report_says_what_it_rests_on() -> None:
    values, patients, nothing = rated(100)
    names = [rating.name for rating in RATINGS]
    nodules: list[LibraryNodule] = [
        ball_nodule(
            str(n),
            patient=str(patient),
            ratings=dict.fromkeys(names, float(value)),
        )
        for n, (patient, value) in enumerate(zip(patients, values))
    ]
    sets = {'diameter': nothing, 'mean HU': nothing, 'all': values[:, None]}
    low = int((values < 2.5).sum())

    text = report(nodules, sets)

    assert f'Spiculation: {low} / ' in text and 'of 50 patients' in text
    assert text.count('\nuseful') == 3
    with pytest.raises(SeriesError, match='Texture: a nodule has no such'):
        report([replace(nodules[0], ratings={})], sets)
