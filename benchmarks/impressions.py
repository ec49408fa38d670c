"""Can a small head on a detector predict the readers' ratings of a nodule?

python -m benchmarks.impressions NODULES [--model MODEL]

NODULES comes from `lungdet prepare nodules lidc_voi.npz NODULES`, MODEL is a
checkpoint or a release, by default the one that comes with lungdet.

Everything below was fixed when only the frequencies of ratings and diameters
were known, before any feature was computed.

Question: Do features of the detector in a nodule's box, together with simple
measurements, predict the readers' impression (not a diagnosis) well enough to
ship a head?

Data: the 985 nodules of 549 patients of LIDC-IDRI in lidc_voi.npz. They have
at most one slice above and below the readers' outline; the rest of the crop is
filled with lung of -850 HU. The shipped detector was trained on these nodules,
inserted into other scans, but never with their ratings. Box and outline are
those of the reference, whereas a head would have those of the detector, so the
figures are more likely too good than too bad.

Ratings: 1 to 5, the majority of three readers or more, grouped into three
levels. Texture: ground glass (1-2), part solid (3-4), solid (5). Spiculation
and malignancy: low (1-2), middle (3), high (4-5).

Features: every set contains the logarithm of the diameter. The sets are the
diameter alone; mean HU inside the outline; measured: quantiles of HU inside
the outline and within 2 mm on either side of it; detector: mean and maximum of
the backbone's three maps in the box, and the RoI head's pooled features and
hidden layers; all of these.

Model: ridge regression on the rating with standardized features; the penalty
is chosen by leave-one-out on the training nodules; ten folds by patient,
seed 0. Levels are the predicted values, cut so that the levels are as frequent
as among the training nodules.

Measures, pooled over the folds: the area under the ROC curve (AUC), for
texture of solid against the rest, for spiculation and malignancy of high
against low, without middle; the quadratically weighted kappa of the three
levels; 95 % intervals from 2000 resamples of the patients, which do not
include the variation between choices of folds.

A head on all features is useful if its AUC is at least .85, at least .05 above
that of the diameter with an interval above 0, and above that of mean HU with
an interval above 0, and if its kappa is at least .60 ("substantial", Landis
and Koch 1977). The agreement of one reader with the others would be a better
criterion, but cannot be computed, since the file has majorities only.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from benchmarks.impression_features import feature_sets
from benchmarks.roc import areas
from lungdet.cli.errors import clean_errors
from lungdet.errors import SeriesError
from lungdet.io.nodule_library import LibraryNodule, read_library

FOLDS, RESAMPLES, TAILS = 10, 2000, (0.025, 0.975)
PENALTIES = 10.0 ** np.arange(7)
MIN_AUC, MIN_GAIN, MIN_KAPPA = 0.85, 0.05, 0.60


@dataclass(frozen=True)
class Rating:
    """A rating by the readers.

    Attributes:
        name: Name of the rating in the nodule library.
        cuts: Boundaries between the three levels.
        others: Levels that the highest level is compared with in the AUC.
    """

    name: str
    cuts: tuple[float, float]
    others: tuple[int, ...]


RATINGS = (
    Rating('Texture', (2.5, 4.5), (0, 1)),
    Rating('Spiculation', (2.5, 3.5), (0,)),
    Rating('Malignancy', (2.5, 3.5), (0,)),
)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        """From the value on all nodules, followed by those of the
        resamples."""
        low, high = np.quantile(values[1:], TAILS)
        return cls(float(values[0]), float(low), float(high))

    def __str__(self) -> str:
        return f'{self.value:.2f} ({self.low:.2f} to {self.high:.2f})'


@dataclass(frozen=True)
class Agreement:
    """How well a set of features predicts a rating.

    Attributes:
        auc: AUC of the highest level against the others.
        kappa: Weighted kappa of the three levels.
        gain: AUC minus that of each baseline, in their order.
    """

    auc: Estimate
    kappa: Estimate
    gain: tuple[Estimate, ...]

    @property
    def useful(self) -> bool:
        """Whether all criteria are met; baselines are diameter and mean HU."""
        return (
            self.auc.value >= MIN_AUC
            and self.gain[0].value >= MIN_GAIN
            and all(gain.low > 0 for gain in self.gain)
            and self.kappa.value >= MIN_KAPPA
        )


def ridge(
    table: np.ndarray, target: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression; the penalty has the smallest leave-one-out error.

    Args:
        table: Features (N, p) of the training set.
        target: Targets (N,) of the training set.
        test: Features (M, p) of the test set.

    Returns:
        Leave-one-out predictions (N,) on the training set, and predictions
        (M,) on the test set.
    """
    middle, spread = table.mean(0), table.std(0) + 1e-6
    u, s, vt = np.linalg.svd((table - middle) / spread, full_matrices=False)
    mean = target.mean()
    best, left_out, weights = np.inf, target, vt[0]
    for penalty in PENALTIES:
        shrunk = s**2 / (s**2 + penalty)
        fitted = mean + u @ (shrunk * (u.T @ (target - mean)))
        leverage = 1 / len(target) + (u**2 * shrunk).sum(1)
        residual = (target - fitted) / (1 - leverage)
        if (error := float((residual**2).sum())) < best:
            best, left_out = error, target - residual
            weights = vt.T @ (s / (s**2 + penalty) * (u.T @ (target - mean)))
    return left_out, mean + (test - middle) / spread @ weights


def cross_validated(
    table: np.ndarray,
    values: np.ndarray,
    cuts: Sequence[float],
    patients: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold scores (N,) and levels (N,) of the nodules."""
    names = np.unique(patients)
    order = np.random.default_rng(0).permutation(len(names))
    scores, levels = np.zeros(len(values)), np.zeros(len(values), dtype=int)
    for fold in range(FOLDS):
        test = np.isin(patients, names[order % FOLDS == fold])
        left_out, scores[test] = ridge(
            table[~test], values[~test], table[test]
        )
        below = [(values[~test] < cut).mean() for cut in cuts]
        levels[test] = np.digitize(scores[test], np.quantile(left_out, below))
    return scores, levels


def kappas(
    levels: np.ndarray, other: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Quadratically weighted kappas (R,) of two raters in R resamples.

    Args:
        levels: Levels (N,) by one rater.
        other: Levels (N,) by the other rater.
        weights: How often each of N nodules is in each resample (R, N).

    Source: Cohen 1968, Psychological Bulletin 70(4).
    """
    total = weights.sum(1)
    disagreement = weights @ (levels - other) ** 2
    by_chance = (
        weights @ (levels**2 + other**2)
        - 2 * (weights @ levels) * (weights @ other) / total
    )
    return 1 - disagreement / by_chance


def agreements(
    rating: Rating,
    sets: Mapping[str, np.ndarray],
    values: np.ndarray,
    patients: np.ndarray,
) -> dict[str, Agreement]:
    """Evaluate each set of features on a rating.

    Args:
        rating: The rating.
        sets: Features (N, ...) by name; the first two are the baselines.
        values: Values (N,) of the rating, 1 to 5.
        patients: Patients (N,) of the nodules.
    """
    names, numbers = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(0)
    even = np.full(len(names), 1 / len(names))
    counts = rng.multinomial(len(names), even, size=RESAMPLES)
    weights = np.concatenate([np.ones((1, len(names))), counts])[:, numbers]
    levels = np.digitize(values, rating.cuts)
    high, low = levels == 2, np.isin(levels, rating.others)
    aucs, out = [], {}
    for name, table in sets.items():
        scores, told = cross_validated(table, values, rating.cuts, patients)
        auc = areas(
            scores[high], scores[low], weights[:, high], weights[:, low]
        )
        aucs.append(auc)
        out[name] = Agreement(
            Estimate.of(auc),
            Estimate.of(kappas(levels, told, weights)),
            tuple(Estimate.of(auc - base) for base in aucs[:2]),
        )
    return out


def report(
    nodules: Sequence[LibraryNodule], sets: Mapping[str, np.ndarray]
) -> str:
    """A table for each rating, and whether a head would be useful.

    Raises:
        SeriesError: A nodule has no rating.
    """
    patients = np.array([n.patient for n in nodules])
    out = []
    for rating in RATINGS:
        if any(rating.name not in n.ratings for n in nodules):
            raise SeriesError(
                f'{rating.name}: a nodule has no such rating; create the '
                'library with "lungdet prepare nodules lidc_voi.npz".'
            )
        values = np.array([n.ratings[rating.name] for n in nodules])
        counts = np.bincount(np.digitize(values, rating.cuts), minlength=3)
        told = agreements(rating, sets, values, patients)
        title = (
            f'{rating.name}: {counts[0]} / {counts[1]} / {counts[2]} nodules '
            f'of {len(set(patients))} patients'
        )
        cells = [['features', 'AUC', '- diameter', '- mean HU', 'kappa']]
        for name, one in told.items():
            gains = [
                str(g) if name != b else '' for b, g in zip(sets, one.gain)
            ]
            cells.append(
                [name, str(one.auc), *(gains + [''])[:2], str(one.kappa)]
            )
        verdict = 'useful' if told['all'].useful else 'not useful'
        out.append(f'{AsciiTable(cells, title).table}\n{verdict}')
    return '\n\n'.join(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('nodules', type=Path)
    parser.add_argument('--model', type=Path)
    args = parser.parse_args()
    nodules = read_library(args.nodules)
    from lungdet.engine.release import shipped_release

    model = args.model or shipped_release()
    print(report(nodules, feature_sets(nodules, model)))


if __name__ == '__main__':
    with clean_errors('benchmarks.impressions'):
        main()
