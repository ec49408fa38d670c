"""CPU time of insertions into training crops.

python -m benchmarks.insertion_time STORE SOURCE [SOURCE ...]

STORE is a folder of prepared cases, a SOURCE a library of `lungdet prepare
nodules` or `parametric`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from lungdet.cli.errors import clean_errors
from lungdet.io.case_store import CaseStore


def crop_milliseconds(
    store: CaseStore, source: str, crops: int = 150
) -> tuple[float, float]:
    """CPU-ms per 64^3 crop with the defaults of ``NoduleInsertion``: mean and
    95th percentile."""
    from lungdet.datasets.transforms import (
        LoadCrop,
        NoduleInsertion,
        PlaceCrop,
    )

    chosen, load = PlaceCrop(size=(64, 64, 64)), LoadCrop()
    insertion = NoduleInsertion(source)
    rng, times = np.random.default_rng(0), []
    records = list(store.records.values())
    for number in range(2 * crops):
        sample = {
            'store': store,
            'record': records[number % len(records)],
            'kind': 'lung',
            'nodule': None,
            'held_out': frozenset(),
        }
        for step in (chosen, load):
            sample = step.apply(sample, step.draw(rng, sample))
        start = time.process_time()
        insertion.apply(sample, insertion.draw(rng, sample))
        times.append((time.process_time() - start) * 1e3)
    warm = times[crops:]  # by then, donors are cached
    return float(np.mean(warm)), float(np.quantile(warm, 0.95))


def main() -> None:
    """Print a line for each source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('store', type=Path)
    parser.add_argument('sources', nargs='+', metavar='source')
    args = parser.parse_args()
    for source in args.sources:
        mean, most = crop_milliseconds(CaseStore(args.store), source)
        print(f'{source}: {mean:.1f} CPU-ms per crop, 95 % below {most:.1f}')


if __name__ == '__main__':
    with clean_errors('benchmarks.insertion_time'):
        main()
