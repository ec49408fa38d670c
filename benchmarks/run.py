"""Costs, as CPU-seconds and ratios of one run; prints tables.

python benchmarks/run.py [--store PREPARED] [--side 128] [--long 700]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from terminaltables import AsciiTable

from lungdet.apis import load_config
from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.datasets import LUNA16Dataset
from lungdet.engine import Key
from lungdet.io.case_store import CaseStore
from lungdet.ops import computes_bfloat16
from lungdet.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'


def precisions() -> list[tuple[str, bool]]:
    """Names, and whether it is bfloat16; that where the CPU computes in it."""
    both = [('fp32', False), ('bf16', True)]
    return both if computes_bfloat16('cpu') else both[:1]


def cpu_seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Median CPU-seconds of ``work``, after one run not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def literal_sample(store: CaseStore, uid: str, side: int) -> np.ndarray:
    """The literal pipeline: whole volume, cubic rotation, zoom, flips."""
    from scipy import ndimage

    image = store.read(uid, 'image').astype(np.float32)
    crop = image[:side, :side, :side]
    gaps = [(0, side - n) for n in crop.shape]
    crop = np.pad(crop, gaps)
    crop = ndimage.zoom(crop, 0.95, order=1)
    crop = ndimage.rotate(crop, 30, axes=(1, 2), reshape=False, order=3)
    return np.flip(crop, (1, 2)).copy()


def bench_loader(root: Path, side: int) -> list[list[str]]:
    """CPU-seconds of one training sample."""
    head = {'type': 'PlaceCrop', 'size': (side,) * 3}
    tail = [{'type': 'LoadCrop'}, {'type': 'PackDetInputs'}]
    full = {'type': 'RandomAffine3D', 'scale_prob': 1.0, 'rotate_prob': 1.0}
    rows = []
    literal = None
    for name, middle in (
        ('flips', [{'type': 'RandomFlip3D'}]),
        ('scale and rotation', [{'type': 'RandomFlip3D'}, full]),
    ):
        data = LUNA16Dataset(
            root,
            'train',
            pipeline=[head, *middle, *tail],
            test_series=[],
            val_series=[],
        )
        counter = iter(range(10_000))
        cost = cpu_seconds(
            lambda data=data, counter=counter: data[Key(0, next(counter), 0)],
            runs=9,
        )
        if literal is None:
            uid = data.series_uids[0]
            literal = cpu_seconds(
                lambda store=data.store, uid=uid: literal_sample(
                    store, uid, side
                )
            )
        rows.append(
            [f'sample, {name}', f'{cost:.3f}', f'{cost / literal:.2f}']
        )
    assert literal is not None
    return [*rows, ['sample, literal pipeline', f'{literal:.3f}', '1']]


def bench_step(side: int) -> list[list[str]]:
    """Training step of BASE, all heads: backbone and the rest."""
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(load_config(CONFIGS / 'nodulenet_base.py').model)
    model.train()
    sample = DetDataSample()
    middle = side // 2
    box = [middle - 6] * 3 + [middle + 6] * 3
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([box], dtype=torch.float32),
        labels=torch.ones(1, dtype=torch.long),
        ids=torch.ones(1).long(),
        has_mask=torch.ones(1, dtype=torch.bool),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6))
    sample.gt_masks = torch.zeros(side, side, side, dtype=torch.uint8)
    image = torch.randn(1, 1, side, side, side).clamp(-1, 1)
    rows = []
    for name, bf16 in precisions():

        def step(bf16: bool = bf16) -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
                losses = model(image, [sample], mode='loss')
            sum(losses.values()).backward()

        def backbone(bf16: bool = bf16) -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
                features = model.extract(image)
            sum(f.mean() for f in features).backward()

        whole, part = cpu_seconds(step, 1), cpu_seconds(backbone, 1)
        rest = 1 - part / whole
        rows.append(
            [
                f'training step {side}^3, {name}',
                f'{whole:.1f}',
                f'{rest:.0%} beside the backbone',
            ]
        )
    return rows


def bench_windows() -> list[list[str]]:
    """Features of windows, alone and together; CPU-s per million voxels."""
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(load_config(CONFIGS / 'nodulenet_demo.py').model)
    model.eval()
    rows = []
    for side in (64, 96, 128):
        costs = []
        for num in (1, 2):
            images = torch.randn(num, 1, side, side, side)
            with torch.inference_mode():
                cost = cpu_seconds(lambda images=images: model.extract(images))
            costs.append(cost / (images.numel() / 1e6))
        rows.append(
            [
                f'window {side}^3 alone and in pairs, per M voxels',
                f'{costs[0]:.2f}, {costs[1]:.2f}',
                f'{costs[1] / costs[0]:.2f}',
            ]
        )
    return rows


def bench_case(case: torch.Tensor, name: str) -> list[list[str]]:
    """Inference of BASE, untrained: one window after the other.

    Args:
        case: (1, D, H, W) int16 HU.
        name: Of the row.
    """
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(load_config(CONFIGS / 'nodulenet_base.py').model)
    model.eval().set_epoch(1)
    rows: list[list[str]] = []
    first = None
    for precision, bf16 in precisions():
        model.test_cfg['bf16'] = bf16
        start = time.process_time()
        model.predict_case(case)
        cost = time.process_time() - start
        first = first or cost
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        rows.append(
            [
                f'{name}, {case.numel() / 1e6:.0f} M voxels, {precision}',
                f'{cost:.0f}',
                f'{cost / first:.2f}; peak memory {peak:.1f} GB',
            ]
        )
    return rows


def bench_store(root: Path) -> list[list[str]]:
    """Inference on the first prepared case."""
    store = CaseStore(root)
    uid = next(iter(store.records))
    image = torch.from_numpy(store.read(uid, 'image'))[None]
    return bench_case(image, 'whole scan')


def bench_long(slices: int) -> list[list[str]]:
    """Inference on noise as large as a 360 x 360 mm scan of many slices."""
    rng = np.random.default_rng(0)
    image = rng.normal(-850, 60, (1, slices, 360, 360)).astype(np.int16)
    return bench_case(torch.from_numpy(image), f'{slices} slices of noise')


def alone(work: Callable[..., list], *args: object) -> list:
    """Run in a process of its own, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        return pool.submit(work, *args).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--store', type=Path, default='work_dirs/demo/cases')
    parser.add_argument('--side', type=int, default=128)
    parser.add_argument(
        '--long', type=int, default=0, help='slices of a further, long case'
    )
    args = parser.parse_args()
    rows = [['what', 'CPU-s', 'ratio']]
    rows += alone(bench_loader, args.store, args.side)
    rows += alone(bench_step, args.side)
    rows += alone(bench_windows)
    rows += alone(bench_store, args.store)
    if args.long:
        rows += alone(bench_long, args.long)
    print(AsciiTable(rows, 'costs').table)
    if len(precisions()) == 1:
        print('this CPU has no bfloat16 arithmetic; float32 alone was timed')


if __name__ == '__main__':
    main()
