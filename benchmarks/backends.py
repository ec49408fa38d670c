"""Processor time of scans by backend and precision.

python -m benchmarks.backends SCAN... [--model FILE] [--rounds 3]

Every way takes a scan once in each round, so that what else the machine does
affects all alike. Figures are processor seconds of all threads together, of
the network with its NMS and masks, and as a ratio to torch in float32 of the
same round (smallest and largest). The first column is the conversion at the
start, with what it imports. "detections" and "score" take those above 0.1 of
torch in float32: how many have a counterpart within 1 mm, and their largest
difference of score.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from terminaltables import AsciiTable

from lungdet.evaluation import Selection
from lungdet.structures import SeriesResult
from lungdet.threads import set_threads

WAYS = (
    ('torch', 'fp32'),
    ('torch', 'bf16'),
    ('onnxruntime', 'fp32'),
    ('openvino', 'fp32'),
    ('openvino', 'bf16'),
)
LEAST = 0.1  # score of a detection that is looked for
KEPT = 0.05  # one near LEAST may be below it elsewhere


def processor_time(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of all threads, and what was returned."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def difference(one: SeriesResult, other: SeriesResult) -> tuple[str, float]:
    """How many of the other's detections are in one, and how far their
    scores differ at most."""
    wanted = [d for d in other.detections if d.score > LEAST]
    scores, lost = [0.0], 0
    for detection in wanted:
        near = [
            abs(d.score - detection.score)
            for d in one.detections
            if np.linalg.norm(np.subtract(d.center_mm, detection.center_mm))
            < 1
        ]
        lost += not near
        scores += near and [min(near)]
    return f'{len(wanted) - lost} of {len(wanted)}', max(scores)


def start(model: Path | None) -> dict[tuple[str, str], tuple[float, Any]]:
    """Processor seconds and inferencer of each way of this processor."""
    from lungdet.apis.inferencer import NoduleInferencer
    from lungdet.ops import computes_bfloat16

    ways = [
        way for way in WAYS if way[1] == 'fp32' or computes_bfloat16('cpu')
    ]
    return {
        way: processor_time(
            lambda way=way: NoduleInferencer(
                model,
                device='cpu',
                selection=Selection(score_thr=KEPT),
                backend=way[0],
                precision=way[1],
            )
        )
        for way in ways
    }


def measure(
    scan: Path, started: dict[tuple[str, str], tuple[float, Any]], rounds: int
) -> list[list[str]]:
    """A row of the table for each way."""
    from lungdet.io.image import load_volume

    ways = [*started]
    case = started[ways[0]][1].prepare(load_volume(scan))
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    results: dict[tuple[str, str], SeriesResult] = {}
    for _ in range(rounds):
        for way, (_, inferencer) in started.items():
            taken, results[way] = processor_time(
                lambda inferencer=inferencer: inferencer.detect(case)
            )
            seconds[way].append(taken)
    rows = []
    for way in ways:
        ratios = np.divide(seconds[way], seconds[ways[0]])
        same, score = difference(results[way], results[ways[0]])
        rows.append(
            [
                ' '.join(way),
                f'{started[way][0]:.1f}',
                f'{np.median(seconds[way]):.1f}',
                f'{ratios.min():.2f} .. {ratios.max():.2f}',
                same,
                f'{score:.4f}',
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'scans', type=Path, nargs='+', help='image files or DICOM folders'
    )
    parser.add_argument('--model', type=Path, help='by default the shipped')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    set_threads()
    heads = ['', 'start', 'CPU-s', 'ratio', 'detections', 'score']
    started = start(args.model)
    for scan in args.scans:
        table = AsciiTable([heads, *measure(scan, started, args.rounds)])
        table.title = scan.name
        print(table.table, flush=True)


if __name__ == '__main__':
    main()
