"""CPU cost of a Models Genesis pair, with lungdet and a reference
implementation.

python -m benchmarks.pretraining [--pairs 200] [--store PREPARED]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from lungdet.apis import load_config
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.datasets import LungCropDataset
from lungdet.engine import Key
from lungdet.geometry import Geometry
from lungdet.registry import TRANSFORMS
from tests.oracles import genesis_literal as literal

CONFIG = Path(__file__).parents[1] / 'configs' / 'genesis_featurenet.py'
SHAPE = (32, 64, 64)
ROUNDS = 3


def cpu_ms(work: Callable[[int], object], runs: int) -> float:
    """CPU-ms per call of ``work(k)``: the mean of a round, median of three."""
    for k in range(5):
        work(k)
    means = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for k in range(runs):
            work(k)
        means.append((time.process_time() - start) / runs * 1e3)
    return float(np.median(means))


def distort(crop: np.ndarray, transforms: list, seed: int) -> np.ndarray:
    """The distorted crop of a pair, whose target is ``crop``."""
    sample = {
        'image': crop,
        'target': crop,
        'in_lungs': np.ones(crop.shape, dtype=bool),
        'geometry': Geometry(crop.shape, np.eye(4)),
        'rng': np.random.default_rng(seed),
    }
    for transform in transforms:
        sample = transform(sample)
    return sample['image']


def part_rows(crop: np.ndarray, pairs: int) -> list[list[str]]:
    """Rows for whole pairs with the published probabilities, then for each
    distortion alone."""
    pipeline = load_config(CONFIG).train_dataloader.dataset.pipeline
    whole = [TRANSFORMS.build(cfg) for cfg in pipeline[1:-1]]
    always = {'prob': 1.0}
    parts = {
        'pair': (whole, literal.literal_pair),
        'shuffle, always': (
            [TRANSFORMS.build({'type': 'LocalPixelShuffle', **always})],
            literal.literal_shuffle,
        ),
        'intensity, always': (
            [TRANSFORMS.build({'type': 'NonLinearIntensity', **always})],
            literal.literal_intensity,
        ),
        'in-painting': (
            [TRANSFORMS.build({'type': 'InPainting'})],
            literal.literal_inpainting,
        ),
        'out-painting': (
            [TRANSFORMS.build({'type': 'OutPainting'})],
            literal.literal_outpainting,
        ),
    }
    rows = []
    for name, (transforms, slow) in parts.items():
        fast = cpu_ms(
            lambda k, t=transforms: distort(crop, t, k),  # type: ignore[misc]
            pairs,
        )
        literally = cpu_ms(
            lambda k, f=slow: f(crop, np.random.default_rng(k)),  # type: ignore[misc]
            max(pairs // 8, 10),
        )
        rows.append(
            [
                name,
                f'{fast:.2f}',
                f'{literally:.2f}',
                f'{literally / fast:.1f}',
            ]
        )
    return rows


def sample_row(store: Path, pairs: int) -> list[str]:
    """Row for a whole sample: choose, read, scale, distort and pack a crop."""
    config = load_config(CONFIG).train_dataloader.dataset
    data = LungCropDataset(
        store,
        'train',
        pipeline=config.pipeline,
        window=config.window,
        test_subsets=(),
        val_subsets=(),
    )
    cost = cpu_ms(lambda k: data[Key(k % len(data), k, k)], pairs)
    return ['sample from the store', f'{cost:.2f}', '-', '-']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pairs', type=positive_int, default=200)
    parser.add_argument('--store', type=Path, help='a prepared folder')
    args = parser.parse_args()
    crop = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    sample = [sample_row(args.store, args.pairs)] if args.store else []
    rows = [['32x64x64', 'CPU-ms', 'literal CPU-ms', 'ratio']]
    rows += [*part_rows(crop, args.pairs), *sample]
    print(AsciiTable(rows, 'pre-training pairs').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.pretraining'):
        main()
