"""Processor time of scans by backend and precision.

python -m benchmarks.backends SCAN... [--model FILE] [--rounds 3]

Every way takes a scan once in each round, so that what else the machine does
affects all alike. Figures are processor seconds of all threads together, of
the network with its NMS and masks: the median over scans and rounds, and the
ratio to torch in float32 of the same scan and round (least .. most). "start"
is a process of its own from its first import to a detector that is ready,
conversion included (least .. most of the rounds). "detections" and "score"
take those above 0.1 of torch in float32: how many have a counterpart within
1 mm, and the largest difference of score from it.
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

from lungdet.evaluation import Selection
from lungdet.structures import SeriesResult

WAYS = (
    ('torch', 'fp32'),
    ('torch', 'bf16'),
    ('onnxruntime', 'fp32'),
    ('openvino', 'fp32'),
    ('openvino', 'bf16'),
)
LEAST = 0.1  # score of a detection that is looked for
KEPT = 0.05  # one near LEAST may be below it elsewhere
REACH = 1.0  # mm to a counterpart


def inferencer_of(way: tuple[str, str], model: Path | None) -> Any:
    """A detector that computes in one of ``WAYS``."""
    from lungdet.apis.inferencer import NoduleInferencer

    return NoduleInferencer(
        model,
        device='cpu',
        selection=Selection(score_thr=KEPT),
        backend=way[0],
        precision=way[1],
    )


def start(way: tuple[str, str], model: Path | None) -> float:
    """Processor seconds of a new process until its detector is ready."""
    inferencer_of(way, model)
    return time.process_time()


def starts(model: Path | None, rounds: int) -> Iterator[tuple[Any, float]]:
    """Each of the ways of this processor, with a start of it."""
    from lungdet.ops import computes_bfloat16

    for _ in range(rounds):
        for way in WAYS:
            if way[1] == 'fp32' or computes_bfloat16('cpu'):
                with ProcessPoolExecutor(1, get_context('spawn')) as pool:
                    yield way, pool.submit(start, way, model).result()


def counterparts(
    one: SeriesResult, other: SeriesResult
) -> Iterator[float | None]:
    """For each detection of the other that counts, the difference of its
    counterpart's score, or None without one."""
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
    """Seconds, ratios and ``counterparts`` of each way."""
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
            measured[way][2].extend(counterparts(result, results[first]))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'scans', type=Path, nargs='+', help='image files or DICOM folders'
    )
    parser.add_argument('--model', type=Path, help='by default the shipped')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
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
    main()
