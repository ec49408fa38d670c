"""Costs, as CPU-seconds and ratios of one run; prints tables.

python benchmarks/run.py [--store PREPARED] [--side 128]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
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
from lungdet.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'


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
    for name, bf16 in (('fp32', False), ('bf16', True)):

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


def bench_case(root: Path) -> list[list[str]]:
    """Inference of BASE, untrained, on the first prepared case."""
    store = CaseStore(root)
    uid = next(iter(store.records))
    case = torch.from_numpy(store.read(uid, 'image'))[None]
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(load_config(CONFIGS / 'nodulenet_base.py').model)
    model.eval().set_epoch(1)
    rows = []
    first = None
    for name, bf16 in (('fp32', False), ('bf16', True)):
        model.test_cfg['bf16'] = bf16
        start = time.process_time()
        model.predict_case(case)
        cost = time.process_time() - start
        first = first or cost
        rows.append(
            [
                f'case of {case.numel() / 1e6:.0f} M voxels, {name}',
                f'{cost:.0f}',
                f'{cost / first:.2f}',
            ]
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return [*rows, ['peak memory of this run, GB', f'{peak:.1f}', '']]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--store', type=Path, default='work_dirs/demo/cases')
    parser.add_argument('--side', type=int, default=128)
    args = parser.parse_args()
    rows = [['what', 'CPU-s', 'ratio']]
    rows += bench_loader(args.store, args.side)
    rows += bench_step(args.side)
    rows += bench_case(args.store)
    print(AsciiTable(rows, 'costs').table)


if __name__ == '__main__':
    main()
