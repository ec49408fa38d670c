"""How well a classifier separates inserted from real nodules, and their noise.

python -m benchmarks.insertion DATA STORE LIBRARY [--seeds 5]

DATA holds `nodule-cubes/lidc_51mm.npz`, STORE the prepared cases of
`luna16-mini` and `luna16-more`, LIBRARY comes from `lungdet prepare nodules`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from terminaltables import AsciiTable

from benchmarks.insertion_pairs import NodulePatch, samples
from benchmarks.roc import area
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import LibraryNodule, read_library

SHELLS = np.array([0, 0.35, 0.7, 1.0, 1.3, 1.7, 2.2])  # of the radius
NOISE_SHELLS = {'inside': (0, 0.75), 'edge': (0.75, 1.3), 'out': (1.3, 2.2)}
NOISE_ROWS = (*NOISE_SHELLS, 'inside / out')
FOLDS, RIDGE, RESAMPLES = 10, 1.0, 1000


def features(sample: NodulePatch) -> np.ndarray:
    """Features of the classifier: profiles, noise and edges by shell."""
    radius = sample.diameter / 2
    away = _distance(sample.image.shape, _recentred(sample)) / radius
    values: list[float] = []
    for low, high in zip(SHELLS[:-1], SHELLS[1:]):
        shell = sample.image[(away >= low) & (away < high)]
        values += [float(shell.mean()), float(shell.std())]
    across = np.abs(np.gradient(sample.image, axis=2))
    through = np.abs(np.gradient(sample.image, axis=0))
    edge = (away > 0.75) & (away < 1.3)
    values += [float(across[edge].mean()), float(through[edge].mean())]
    fine_x, fine_z = (_high_pass(sample.image, axis) for axis in (2, 0))
    for low, high in NOISE_SHELLS.values():
        shell = (away >= low) & (away < high)
        values += [
            float(np.log(fine[shell].std() + 1)) for fine in (fine_x, fine_z)
        ]
        values.append(_slice_correlation(fine_x, shell))
    inner = sample.image[away < 1]
    values += [float(v) for v in np.quantile(inner, [0.1, 0.5, 0.98])]
    return np.array(values)


def _distance(shape: Sequence[int], center: np.ndarray) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, center)))


def _recentred(sample: NodulePatch) -> np.ndarray:
    """Centre of mass of the bright voxels: the same rule for real and
    inserted nodules."""
    near = _distance(sample.image.shape, sample.center)
    weight = np.clip(sample.image + 600, 0, 500)
    weight = weight * (near < sample.diameter * 0.55)
    if weight.sum() == 0:
        return sample.center
    return np.array(ndimage.center_of_mass(weight))


def _high_pass(image: np.ndarray, axis: int) -> np.ndarray:
    return ndimage.correlate1d(image, [-0.5, 1.0, -0.5], axis=axis)


def _slice_correlation(fine: np.ndarray, shell: np.ndarray) -> float:
    """Correlation of neighbouring slices, where both voxels are in the
    shell."""
    both = shell[1:] & shell[:-1]
    if both.sum() < 8 or fine[1:][both].std() * fine[:-1][both].std() == 0:
        return 0.0
    return float(np.corrcoef(fine[1:][both], fine[:-1][both])[0, 1])


@dataclass(frozen=True)
class Separation:
    """How well a classifier separates inserted from real nodules.

    Attributes:
        auc: Area under the ROC curve; .5 is chance.
        low: Lower bound of its 95 % interval, from resampled patients.
        high: Upper bound.
        real: Number of real nodules.
        inserted: Number of inserted ones.
        patients: Number of patients.
    """

    auc: float
    low: float
    high: float
    real: int
    inserted: int
    patients: int


def separation(
    drawn: Sequence[NodulePatch], table: np.ndarray, seed: int = 0
) -> Separation:
    """Logistic regression on features, cross-validated by patient.

    Args:
        drawn: N samples.
        table: Features (N, ...) of the samples.
        seed: Seed of the folds and of resampling.
    """
    labels = np.array([sample.inserted for sample in drawn])
    patients = np.array([sample.patient for sample in drawn])
    names = np.unique(patients)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    scores = np.zeros(len(drawn))
    for fold in range(FOLDS):
        test = np.isin(patients, names[order % FOLDS == fold])
        if test.any():
            scores[test] = _logistic(table[~test], labels[~test], table[test])
    draws = [
        _area(scores[index], labels[index])
        for index in _resamples(patients, rng)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Separation(
        _area(scores, labels),
        float(low),
        float(high),
        int((~labels).sum()),
        int(labels.sum()),
        len(names),
    )


def _resamples(
    patients: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Indices of the samples of as many patients, drawn with replacement."""
    names = np.unique(patients)
    rows = {name: np.flatnonzero(patients == name) for name in names}
    for _ in range(RESAMPLES):
        chosen = rng.choice(names, len(names))
        yield np.concatenate([rows[name] for name in chosen])


def _area(scores: np.ndarray, labels: np.ndarray) -> float:
    return area(scores[labels], scores[~labels])


def _logistic(
    table: np.ndarray, labels: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Scores of a logistic regression with L2 penalty; the classes have equal
    weight."""
    middle, spread = table.mean(0), table.std(0) + 1e-6
    known, unknown = (table - middle) / spread, (test - middle) / spread
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    sign = np.where(labels, 1.0, -1.0)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (known @ values[1:] + values[0])
        error = weight * np.logaddexp(0, -margin)
        slope = -weight * sign / (1 + np.exp(np.clip(margin, -30, 30)))
        gradient = np.concatenate([[slope.sum()], known.T @ slope])
        gradient[1:] += RIDGE * values[1:]
        return float(
            error.sum() + RIDGE / 2 * (values[1:] ** 2).sum()
        ), gradient

    start = np.zeros(table.shape[1] + 1)
    best = minimize(loss, start, jac=True, method='L-BFGS-B').x
    return unknown @ best[1:] + best[0]


@dataclass(frozen=True)
class GateResult:
    """Comparison of inserted and real nodules over several seeds.

    Attributes:
        separations: Separation for each seed.
        noise: ``NOISE_ROWS`` -> array (3, 3): noise along x, noise along z and
            correlation of neighbouring slices, each as the median of inserted
            nodules divided by that of real ones; then the bounds of its 95 %
            interval, from resampled patients.
    """

    separations: list[Separation]
    noise: dict[str, np.ndarray]

    @property
    def auc(self) -> float:
        """Mean AUC over the seeds; the gate requires less than .65."""
        return float(np.mean([one.auc for one in self.separations]))


def run_gate(
    data: Path, store: CaseStore, library: Sequence[LibraryNodule], seeds: int
) -> GateResult:
    """Run the classifier and measure noise for several seeds of insertion."""
    separations, tables = [], []
    of_all_seeds: list[NodulePatch] = []
    for seed in range(seeds):
        drawn = samples(data, store, library, seed=seed)
        tables.append(np.array([features(sample) for sample in drawn]))
        separations.append(separation(drawn, tables[-1]))
        of_all_seeds += drawn
    return GateResult(
        separations, noise_table(of_all_seeds, np.concatenate(tables))
    )


def noise_table(
    drawn: Sequence[NodulePatch], table: np.ndarray
) -> dict[str, np.ndarray]:
    """``GateResult.noise`` of N samples with features (N, ...)."""
    inserted = np.array([sample.inserted for sample in drawn])
    patients = np.array([sample.patient for sample in drawn])
    draws = [
        noise_ratios(table[index], inserted[index])
        for index in _resamples(patients, np.random.default_rng(0))
    ]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    values = np.stack([noise_ratios(table, inserted), low, high], axis=-1)
    return dict(zip(NOISE_ROWS, values))


def noise_ratios(table: np.ndarray, inserted: np.ndarray) -> np.ndarray:
    """Ratios (4, 3) of inserted to real nodules, a row for each of
    ``NOISE_ROWS``."""
    first = 2 * (len(SHELLS) - 1) + 2
    shells = table[:, first : first + 3 * len(NOISE_SHELLS)]
    shells = shells.reshape(len(table), len(NOISE_SHELLS), 3).copy()
    shells[..., :2] = np.exp(shells[..., :2])
    real, other = (np.median(shells[k], 0) for k in (~inserted, inserted))
    ratios = other / real
    return np.concatenate([ratios, ratios[:1] / ratios[-1:]])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('store', type=Path)
    parser.add_argument('library', type=Path)
    parser.add_argument('--seeds', type=positive_int, default=5)
    args = parser.parse_args()
    store, library = CaseStore(args.store), read_library(args.library)
    result = run_gate(args.data, store, library, args.seeds)
    rows = [('seed', 'real', 'inserted', 'patients', 'AUC', '95 %')]
    rows += [
        (
            str(seed),
            str(one.real),
            str(one.inserted),
            str(one.patients),
            f'{one.auc:.3f}',
            f'{one.low:.2f}..{one.high:.2f}',
        )
        for seed, one in enumerate(result.separations)
    ]
    rows.append(('mean', '', '', '', f'{result.auc:.3f}', ''))
    print(AsciiTable(rows).table)
    noise = [('shell', 'noise along x', 'along z', 'slice correlation')]
    noise += [
        (row, *(f'{v:.2f} ({low:.2f}..{high:.2f})' for v, low, high in values))
        for row, values in result.noise.items()
    ]
    print(AsciiTable(noise, 'inserted / real').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.insertion'):
        main()
