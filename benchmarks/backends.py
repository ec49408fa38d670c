"""CPU time per scan of each backend and precision.

python -m benchmarks.backends SCAN... [--model FILE] [--rounds 3]

In each round, all backends process a scan in turn, so that other load affects
them equally. Figures are CPU-seconds of all threads together, for the network
with its NMS and masks: the median over scans and rounds, and the ratio to
torch in float32 for the same scan and round (minimum .. maximum). "start" is
the time of a fresh process from the first import until the detector is ready,
conversion included (minimum .. maximum over the rounds). "detections" and
"score" compare with the detections of torch in float32 above 0.1: how many
have a detection within 1 mm, and the largest difference of their scores.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.evaluation import Selection
from lungdet.structures import SeriesResult

WAYS = (
    ('torch', 'fp32'),
    ('torch', 'bf16'),
    ('onnxruntime', 'fp32'),
    ('openvino', 'fp32'),
    ('openvino', 'bf16'),
)
LEAST = 0.1  # scores of detections that are compared are above this
KEPT = 0.05  # score threshold of the runs: scores near LEAST may differ
REACH = 1.0  # mm; largest distance of two detections that are compared


def inferencer_of(way: tuple[str, str], model: Path | None) -> Any:
    """A detector with the backend and precision of one of ``WAYS``."""
    from lungdet.apis.inferencer import NoduleInferencer

    return NoduleInferencer(
        model,
        device='cpu',
        selection=Selection(score_thr=KEPT),
        backend=way[0],
        precision=way[1],
    )


def start(way: tuple[str, str], model: Path | None) -> float:
    """CPU-seconds of a fresh process until its detector is ready."""
    inferencer_of(way, model)
    return time.process_time()


def starts(model: Path | None, rounds: int) -> Iterator[tuple[Any, float]]:
    """Start times of all ways that this CPU supports, in turn."""
    from lungdet.ops import computes_bfloat16

    for _ in range(rounds):
        for way in WAYS:
            if way[1] == 'fp32' or computes_bfloat16('cpu'):
                with ProcessPoolExecutor(1, get_context('spawn')) as pool:
                    yield way, pool.submit(start, way, model).result()


def score_differences(
    one: SeriesResult, other: SeriesResult
) -> Iterator[float | None]:
    """For each detection of ``other`` above ``LEAST``, the difference of the
    nearest detection's score; None if there is none within ``REACH``."""
    centers = [d.center_mm for d in one.detections]
    for detection in other.detections:
        if detection.score <= LEAST:
            continue
        gaps = np.subtract(centers, detection.center_mm).reshape(-1, 3)
        distances = np.linalg.norm(gaps, axis=1)
        if distances.min(initial=np.inf) >= REACH:
            yield None
        else:
            nearest = one.detections[int(distances.argmin())]
            yield abs(nearest.score - detection.score)


def measure(
    scans: list[Path], inferencers: dict[Any, Any], rounds: int
) -> dict[Any, tuple[list[float], list[float], list[float | None]]]:
    """CPU-seconds, ratios and ``score_differences`` of each way."""
    from lungdet.io.image import load_volume

    first = next(iter(inferencers))
    measured: dict[Any, Any] = {way: ([], [], []) for way in inferencers}
    for scan in scans:
        case = inferencers[first].prepare(load_volume(scan))
        for _ in range(rounds):
            results = {}
            for way, inferencer in inferencers.items():
                started = time.process_time()
                results[way] = inferencer.detect(case)
                measured[way][0].append(time.process_time() - started)
                measured[way][1].append(
                    measured[way][0][-1] / measured[first][0][-1]
                )
        for way, result in results.items():
            measured[way][2].extend(score_differences(result, results[first]))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'scans', type=Path, nargs='+', help='image files or DICOM folders'
    )
    parser.add_argument('--model', type=Path, help='default: as shipped')
    parser.add_argument('--rounds', type=positive_int, default=3)
    args = parser.parse_args()
    for scan in args.scans:
        scan.stat()  # raises if it is missing
    started = defaultdict(list)
    for way, seconds in starts(args.model, args.rounds):
        started[way].append(seconds)
    measured = measure(
        args.scans,
        {way: inferencer_of(way, args.model) for way in started},
        args.rounds,
    )
    rows = [['', 'start', 'CPU-s', 'ratio', 'detections', 'score']]
    for way, (seconds, ratios, differences) in measured.items():
        near = [d for d in differences if d is not None]
        rows.append(
            [
                ' '.join(way),
                f'{min(started[way]):.1f} .. {max(started[way]):.1f}',
                f'{np.median(seconds):.1f}',
                f'{min(ratios):.2f} .. {max(ratios):.2f}',
                f'{len(near)} of {len(differences)}',
                f'{max(near, default=np.nan):.5f}',
            ]
        )
    print(AsciiTable(rows, f'scans: {len(args.scans)}').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.backends'):
        main()
