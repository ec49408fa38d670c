"""A blob detector in the lungs, as a baseline without a network.

python -m benchmarks.blobs CASES [--out SUBMISSION]

Its result is a floor for networks on the same scans. Differences of Gaussians
(Lindeberg, International Journal of Computer Vision 30(2), 1998) are scaled so
that the response to a ball on a uniform background is its contrast; of
overlapping marks the best is kept. Nothing is fitted to nodules. CASES are
prepared cases; the marks are written to SUBMISSION in LUNA16's format.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.stats import binomtest, chi
from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.evaluation import (
    MAX_MARKS,
    EvaluationOptions,
    EvaluationReport,
    Submission,
    case_reference,
    detection_points,
    evaluate_submission,
)
from lungdet.evaluation.selection import (
    LUNG_MARGIN_MM,
    MERGE_MM,
    merge_by_distance,
)
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import write_submission
from lungdet.io.reference_set import official_reference
from lungdet.ops import centers_near_mask
from lungdet.structures import CaseRecord, Detection, SeriesResult

DIAMETERS_MM = np.geomspace(3, 30, 11)  # the range of LUNA16's nodules
RATIO = float(DIAMETERS_MM[1] / DIAMETERS_MM[0])  # of successive sigmas
# radius of the ball over the smaller sigma, where the response is largest
FIT = float(np.sqrt(6 * np.log(RATIO) / (1 - RATIO**-2)))
HIGHEST = float(chi.cdf(FIT, 3) - chi.cdf(FIT / RATIO, 3))
HU_RANGE = (-1000, 100)  # clipped, so that bone is no brighter than nodules
LEAST_HU = 100.0  # smallest contrast of a mark
MAX_PEAKS = 10 * MAX_MARKS  # per scan, before overlapping marks are removed


def ball_contrast(
    image: np.ndarray, spacing_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Contrast of the best-fitting ball around each voxel.

    Args:
        image: HU (z, y, x).
        spacing_mm: Isotropic spacing in mm.

    Returns:
        Contrast in HU and diameter in mm of the ball, both (z, y, x).
    """
    image = np.clip(image, *HU_RANGE).astype(np.float32)
    sigmas = DIAMETERS_MM / 2 / FIT / spacing_mm
    contrast = np.full(image.shape, -np.inf, dtype=np.float32)
    size = np.zeros(image.shape, dtype=np.uint8)
    fine = gaussian_filter(image, sigmas[0], mode='nearest')
    for number, sigma in enumerate(sigmas * RATIO):
        coarse = gaussian_filter(image, sigma, mode='nearest')
        response = (fine - coarse) / HIGHEST
        better = response > contrast
        contrast[better], size[better] = response[better], number
        fine = coarse
    return contrast, DIAMETERS_MM[size]


def blobs_of(store: CaseStore, record: CaseRecord) -> SeriesResult:
    """Blobs of a case, in the lungs and the margin of ``Selection`` around
    them.

    The score is the contrast in HU. At most as many marks are kept as LUNA16
    allows per scan.
    """
    uid, grid = record.series_uid, record.geometry
    contrast, diameter = ball_contrast(
        store.read(uid, 'image'), record.spacing_mm
    )
    peaks = contrast == maximum_filter(contrast, 3, mode='nearest')
    index = np.argwhere(peaks & (contrast >= LEAST_HU))
    near = centers_near_mask(
        torch.from_numpy(np.concatenate([index, index + 1], axis=1)),
        torch.from_numpy(store.read(uid, 'lungs') != 0),
        LUNG_MARGIN_MM / record.spacing_mm,
    )
    index = index[near.numpy()]
    order = np.argsort(-contrast[tuple(index.T)], kind='stable')[:MAX_PEAKS]
    index = index[order]
    centers = grid.to_world(index.astype(np.float64))
    detections = [
        Detection((x, y, z), score, size_mm=(side, side, side))
        for (x, y, z), score, side in zip(
            centers.tolist(),
            contrast[tuple(index.T)].tolist(),
            diameter[tuple(index.T)].tolist(),
        )
    ]
    return SeriesResult(
        uid, merge_by_distance(detections, MERGE_MM)[:MAX_MARKS], grid
    )


def score_blobs(
    store: CaseStore, results: Sequence[SeriesResult]
) -> EvaluationReport:
    """Evaluate by LUNA16's rule, with rates in whole false positives."""
    return evaluate_submission(
        Submission(
            'blobs',
            {r.series_uid: detection_points(r.detections) for r in results},
        ),
        case_reference(store.records, official_reference()),
        EvaluationOptions(bootstrap=0, read_out='step'),
    )


def table(report: EvaluationReport) -> str:
    """Sensitivities at LUNA16's rates with exact binomial intervals."""
    rows = [('FP/scan', 'nodules', 'sensitivity', '95 %')]
    total = report.result.curve.nodules
    for rate, value in zip(
        report.result.rates, report.result.sensitivities or []
    ):
        detected = round(value * total)
        low, high = binomtest(detected, total).proportion_ci()
        rows.append(
            (
                f'{rate:g}',
                f'{detected} of {total}',
                f'{value:.2f}',
                f'{low:.2f} to {high:.2f}',
            )
        )
    return AsciiTable(rows).table


def main() -> None:
    """Print the report and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('store', type=Path, metavar='cases')
    parser.add_argument('--out', type=Path, metavar='csv')
    args = parser.parse_args()
    store = CaseStore(args.store)
    results = [blobs_of(store, case) for case in store.records.values()]
    if args.out:
        write_submission(args.out, results)
    report = score_blobs(store, results)
    print(report.text())
    print(table(report))


if __name__ == '__main__':
    with clean_errors('benchmarks.blobs'):
        main()
