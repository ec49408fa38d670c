"""Costs, as CPU-seconds and ratios of one run; prints tables.

python -m benchmarks.run [--store PREPARED] [--scans LUNA16] [--long 700]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from terminaltables import AsciiTable

from lungdet.apis import load_config
from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.datasets import LUNA16Dataset
from lungdet.engine import Key
from lungdet.io.case_store import CaseStore
from lungdet.models import NoduleNet
from lungdet.models.feature_maps import FeatureMaps
from lungdet.ops import BatchNorm3d, computes_bfloat16
from lungdet.phantom import make_phantom
from lungdet.prepare import prepare_luna16
from lungdet.registry import build_model
from tests.oracles.published_data import hu_to_uint8, training_sample

CONFIGS = Path(__file__).parents[1] / 'configs'
SIDE = 128  # of a training crop


def precisions() -> list[tuple[str, bool, bool]]:
    """Name, bfloat16 or not, channels last or not.

    bfloat16 where the CPU computes in it.
    """
    ways = [
        ('fp32', False, False),
        ('fp32, channels last', False, True),
        ('bf16', True, False),
        ('bf16, channels last', True, True),
    ]
    return ways if computes_bfloat16('cpu') else ways[:2]


def base(channels_last: bool) -> NoduleNet:
    """BASE, untrained, with all three heads."""
    cfg = load_config(CONFIGS / 'nodulenet_base.py').model
    return build_model({**cfg, 'channels_last': channels_last})


def cpu_seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Median CPU-seconds of ``work``, after one run not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def literal_samples(data: LUNA16Dataset) -> Callable[[], object]:
    """The published pipeline; scans are in memory, as it wants them."""
    uid = next(u for u in data.series_uids if data.store.records[u].nodules)
    nodule = data.store.records[uid].nodules[0]
    image = hu_to_uint8(data.store.read(uid, 'image'))
    mask = (
        data.store.read(uid, 'mask')
        if data.store.has(uid, 'mask')
        else np.zeros_like(image)
    )
    low, high = np.array(nodule.box[:3]), np.array(nodule.box[3:])
    target = [*(low + high) / 2, float((high - low).max())]
    rng = np.random.default_rng(0)
    return lambda: training_sample(image, mask, target, rng)


def bench_loader(root: Path) -> list[list[str]]:
    """CPU-seconds of one training sample."""
    head = {'type': 'PlaceCrop', 'size': (SIDE,) * 3}
    tail = [{'type': 'LoadCrop'}, {'type': 'PackDetInputs'}]
    full = {'type': 'RandomAffine3D', 'scale_prob': 1.0, 'rotate_prob': 1.0}
    costs = {}
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
        costs[name] = cpu_seconds(
            lambda data=data, counter=counter: data[Key(0, next(counter), 0)],
            runs=9,
        )
    literal = costs['published pipeline'] = cpu_seconds(
        literal_samples(data), runs=9
    )
    return [
        [f'{SIDE}^3 sample, {name}', f'{cost:.3f}', f'{cost / literal:.2f}']
        for name, cost in costs.items()
    ]


def bench_step() -> list[list[str]]:
    """Training step of BASE, all heads: backbone and the rest."""
    sample = DetDataSample()
    middle = SIDE // 2
    box = [middle - 6] * 3 + [middle + 6] * 3
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([box], dtype=torch.float32),
        labels=torch.ones(1, dtype=torch.long),
        ids=torch.ones(1).long(),
        has_mask=torch.ones(1, dtype=torch.bool),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6))
    sample.gt_masks = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.uint8)
    image = torch.randn(1, 1, SIDE, SIDE, SIDE).clamp(-1, 1)
    rows = []
    for name, bf16, channels_last in precisions():
        model = base(channels_last).train()

        def step(bf16: bool = bf16, model: NoduleNet = model) -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
                losses = model(image, [sample], mode='loss')
            sum(losses.values()).backward()

        def backbone(bf16: bool = bf16, model: NoduleNet = model) -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
                features = model.extract_feat(image)
            sum(f.mean() for f in features[1:]).backward()

        whole, part = cpu_seconds(step), cpu_seconds(backbone)
        with (
            torch.no_grad(),
            torch.autocast('cpu', torch.bfloat16, enabled=bf16),
        ):
            maps = model.extract_feat(image)[1:]
        features = FeatureMaps(image, *(f.requires_grad_() for f in maps))
        model.extract_feat = lambda image, features=features: features
        heads = cpu_seconds(step)
        for what, cost in (
            ('', whole),
            (': backbone', part),
            (': heads and targets', heads),
        ):
            rows.append(
                [
                    f'training step {SIDE}^3, {name}{what}',
                    f'{cost:.2f}',
                    f'{cost / whole:.2f}',
                ]
            )
    return rows


def bench_windows() -> list[list[str]]:
    """Features of windows, alone and together; CPU-s per million voxels."""
    model = build_model(load_config(CONFIGS / 'nodulenet_demo.py').model)
    model.eval()
    rows = []
    for side in (64, 96, 128):
        costs = []
        for num in (1, 2):
            images = torch.randn(num, 1, side, side, side)
            with torch.inference_mode():
                cost = cpu_seconds(
                    lambda images=images: model.extract_feat(images)
                )
            costs.append(cost / (images.numel() / 1e6))
        rows.append(
            [
                f'window {side}^3 alone and in pairs, per M voxels',
                f'{costs[0]:.2f}, {costs[1]:.2f}',
                f'{costs[1] / costs[0]:.2f}',
            ]
        )
    return rows


def bench_norm() -> list[list[str]]:
    """Training step of the demo's backbone with torch's norm and our own.

    Milliseconds of two threads: what is measured is how they disturb each
    other.
    """
    torch.set_num_threads(2)
    model = build_model(load_config(CONFIGS / 'nodulenet_demo.py').model)
    image = torch.randn(2, 1, 64, 64, 64)
    forwards = (torch.nn.BatchNorm3d.forward, BatchNorm3d.forward)
    times: list[list[float]] = []
    for _ in range(40):  # in turn, so that what else runs disturbs both
        times.append([])
        for forward in forwards:
            BatchNorm3d.forward = forward
            start = time.perf_counter()
            features = model.extract_feat(image)[1:]
            sum(f.mean() for f in features).backward()
            times[-1].append(1e3 * (time.perf_counter() - start))
    torchs, own = np.median(times[5:], axis=0)
    return [
        [
            'step of a narrow backbone, norm of torch and own, ms',
            f'{torchs:.0f}, {own:.0f}',
            f'{own / torchs:.2f}',
        ]
    ]


def bench_case(case: torch.Tensor, name: str) -> list[list[str]]:
    """Inference of BASE, untrained, with all three heads.

    Args:
        case: (1, D, H, W) int16 HU.
        name: Of the row.
    """
    rows: list[list[str]] = []
    first = None
    for precision, bf16, channels_last in precisions():
        model = base(channels_last).eval()
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


def bench_prepare(scans: Path) -> list[list[str]]:
    """Preparation of a LUNA16 folder, per scan of 300 slices."""
    xml = scans / 'xml'
    with tempfile.TemporaryDirectory() as out:
        start = time.process_time()
        prepare_luna16(
            scans, out, lidc_xml=xml if xml.is_dir() else None, progress=False
        )
        cost = time.process_time() - start
        records = CaseStore(Path(out)).records.values()
        slices = sum(record.source_geometry.shape[0] for record in records)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return [
        [
            f'preparing {len(records)} scans, per 300 slices',
            f'{300 * cost / slices:.1f}',
            f'peak memory {peak:.2f} GB',
        ]
    ]


def bench_phantom() -> list[list[str]]:
    """Drawing phantoms, CPU-seconds per million voxels."""
    make_phantom(0, size='small')  # the first one of a process takes longer
    start = time.process_time()
    voxels = sum(
        make_phantom(seed, size='small').masks.size for seed in (1, 2, 3)
    )
    cost = (time.process_time() - start) / voxels * 1e6
    return [['small phantoms, per M voxels', f'{cost:.2f}', '']]


def bench_long(slices: int) -> list[list[str]]:
    """Inference on noise as large as a 360 x 360 mm scan of many slices."""
    rng = np.random.default_rng(0)
    image = rng.normal(-850, 60, (1, slices, 360, 360)).astype(np.int16)
    return bench_case(torch.from_numpy(image), f'{slices} slices of noise')


def alone(work: Callable[..., list], *args: object) -> list:
    """Run in a process of its own, so that its peak memory is its own."""
    print(f'{work.__name__} ...', file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        return pool.submit(work, *args).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--store', type=Path, default='work_dirs/demo/cases')
    parser.add_argument('--scans', type=Path, help='a LUNA16 folder')
    parser.add_argument(
        '--long', type=int, default=0, help='slices of a further, long case'
    )
    args = parser.parse_args()
    rows = [['what', 'CPU-s', 'ratio']]
    rows += alone(bench_phantom)
    if args.scans:
        rows += alone(bench_prepare, args.scans)
    rows += alone(bench_loader, args.store)
    rows += alone(bench_step)
    rows += alone(bench_windows)
    rows += alone(bench_norm)
    rows += alone(bench_store, args.store)
    if args.long:
        rows += alone(bench_long, args.long)
    print(AsciiTable(rows, 'costs').table)
    if len(precisions()) == 1:
        print('this CPU has no bfloat16 arithmetic; float32 alone was timed')


if __name__ == '__main__':
    main()
