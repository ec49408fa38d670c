"""Costs of all steps from a scan to its boxes: CPU-seconds and ratios.

python -m benchmarks.run [--store PREPARED] [--scans LUNA16] [--long 700]

Each part runs in a fresh process, so that memory peaks do not mix.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from terminaltables import AsciiTable

from benchmarks.peak import peak_gb
from lungdet.apis import load_config
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
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
TableRows = list[list[str]]  # what, CPU-seconds, ratio


class Precision(NamedTuple):
    """Precision and memory format of a network."""

    name: str
    bf16: bool
    channels_last: bool

    def autocast(self) -> torch.autocast:
        """A context that computes convolutions in bfloat16 if requested."""
        return torch.autocast('cpu', torch.bfloat16, enabled=self.bf16)


def precisions() -> list[Precision]:
    """Precisions and memory formats; bfloat16 only if the CPU supports it."""
    known = [
        Precision('fp32', False, False),
        Precision('fp32, channels last', False, True),
        Precision('bf16', True, False),
        Precision('bf16, channels last', True, True),
    ]
    return known if computes_bfloat16('cpu') else known[:2]


def untrained_base(channels_last: bool) -> NoduleNet:
    """BASE, untrained, with all three heads."""
    cfg = load_config(CONFIGS / 'nodulenet_base.py').model
    return build_model({**cfg, 'channels_last': channels_last})


def cpu_seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Median CPU-seconds of ``work``, after one warm-up run."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def published_pipeline(data: LUNA16Dataset) -> Callable[[], object]:
    """Function that makes a training sample as published, from a scan in
    memory."""
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


def bench_loader(root: Path, side: int) -> TableRows:
    """Cost of one training sample."""
    crop = {'type': 'PlaceCrop', 'size': (side,) * 3}
    flip = {'type': 'RandomFlip3D'}
    warp = {'type': 'RandomAffine3D', 'scale_prob': 1.0, 'rotate_prob': 1.0}
    load = [{'type': 'LoadCrop'}, {'type': 'PackDetInputs'}]
    costs = {}
    for name, augmentation in (
        ('flips', [flip]),
        ('scale and rotation', [flip, warp]),
    ):
        data = LUNA16Dataset(
            root,
            'train',
            pipeline=[crop, *augmentation, *load],
            test_series=[],
            val_series=[],
        )
        keys = (Key(0, position, 0) for position in itertools.count())
        costs[name] = cpu_seconds(
            lambda data=data, keys=keys: data[next(keys)], runs=9
        )
    published = cpu_seconds(published_pipeline(data), runs=9)
    costs['published pipeline'] = published
    return [
        [f'{side}^3 sample, {name}', f'{cost:.3f}', f'{cost / published:.2f}']
        for name, cost in costs.items()
    ]


def one_nodule(side: int) -> DetDataSample:
    """Targets of a crop with a nodule of 12 voxels at its centre."""
    low, high = side // 2 - 6, side // 2 + 6
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[low] * 3 + [high] * 3], dtype=torch.float32),
        labels=torch.ones(1, dtype=torch.long),
        ids=torch.ones(1, dtype=torch.long),
        has_mask=torch.ones(1, dtype=torch.bool),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6))
    sample.gt_masks = torch.zeros(side, side, side, dtype=torch.uint8)
    return sample


def bench_step(side: int) -> TableRows:
    """Cost of a training step of BASE with all heads, and of its parts."""
    image = torch.randn(1, 1, side, side, side).clamp(-1, 1)
    rows = []
    for precision in precisions():
        costs = step_costs(image, precision)
        for part, cost in costs.items():
            rows.append(
                [
                    f'training step {side}^3, {precision.name}{part}',
                    f'{cost:.2f}',
                    f'{cost / costs[""]:.2f}',
                ]
            )
    return rows


def step_costs(image: torch.Tensor, precision: Precision) -> dict[str, float]:
    """CPU-seconds of a whole step, and of its parts."""
    model = untrained_base(precision.channels_last).train()
    sample = one_nodule(image.shape[-1])

    def step() -> None:
        with precision.autocast():
            losses = model(image, [sample], mode='loss')
        sum(losses.values()).backward()

    def backbone_step() -> None:
        with precision.autocast():
            features = model.extract_feat(image)[1:]
        sum(f.mean() for f in features).backward()

    costs = {'': cpu_seconds(step), ': backbone': cpu_seconds(backbone_step)}
    with torch.no_grad(), precision.autocast():
        maps = model.extract_feat(image)[1:]
    features = FeatureMaps(image, *(f.requires_grad_() for f in maps))
    model.extract_feat = lambda image: features
    costs[': heads and targets'] = cpu_seconds(step)
    return costs


def bench_windows(sides: Sequence[int] = (64, 96, 128)) -> TableRows:
    """Cost of the backbone on one and on two windows at a time, per million
    voxels."""
    model = build_model(load_config(CONFIGS / 'nodulenet_demo.py').model)
    model.eval()
    rows = []
    for side in sides:
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
                f'window {side}^3, one and two at a time, per M voxels',
                f'{costs[0]:.2f}, {costs[1]:.2f}',
                f'{costs[1] / costs[0]:.2f}',
            ]
        )
    return rows


def bench_norm() -> TableRows:
    """Cost of a training step of the demo's backbone, with torch's batch norm
    and with lungdet's.

    Wall time in milliseconds with two threads, since the difference is in how
    they wait for each other.
    """
    torch.set_num_threads(2)
    model = build_model(load_config(CONFIGS / 'nodulenet_demo.py').model)
    image = torch.randn(2, 1, 64, 64, 64)
    forwards = (torch.nn.BatchNorm3d.forward, BatchNorm3d.forward)
    times: list[list[float]] = []
    for _ in range(40):  # in turn, so that other load affects both equally
        times.append([])
        for forward in forwards:
            BatchNorm3d.forward = forward
            start = time.perf_counter()
            features = model.extract_feat(image)[1:]
            sum(f.mean() for f in features).backward()
            times[-1].append(1e3 * (time.perf_counter() - start))
    of_torch, of_lungdet = np.median(times[5:], axis=0)
    return [
        [
            "step of a narrow backbone, torch's norm and lungdet's, ms",
            f'{of_torch:.0f}, {of_lungdet:.0f}',
            f'{of_lungdet / of_torch:.2f}',
        ]
    ]


def bench_case(case: torch.Tensor, name: str) -> TableRows:
    """Cost of inference with untrained BASE and all three heads.

    Args:
        case: (1, D, H, W) in HU, int16.
        name: Name of the row.
    """
    rows: TableRows = []
    first = None
    for precision in precisions():
        model = untrained_base(precision.channels_last).eval()
        model.test_cfg['bf16'] = precision.bf16
        start = time.process_time()
        model.predict_case(case)
        cost = time.process_time() - start
        first = first or cost
        rows.append(
            [
                f'{name}, {case.numel() / 1e6:.0f} M voxels, {precision.name}',
                f'{cost:.0f}',
                f'{cost / first:.2f}; peak memory {peak_gb():.1f} GB',
            ]
        )
    return rows


def bench_store(root: Path) -> TableRows:
    """Cost of inference on the first prepared case."""
    store = CaseStore(root)
    uid = next(iter(store.records))
    image = torch.from_numpy(store.read(uid, 'image'))[None]
    return bench_case(image, 'whole scan')


def bench_prepare(scans: Path) -> TableRows:
    """Cost of preparing a LUNA16 folder, per 300 slices."""
    xml = scans / 'xml'
    with tempfile.TemporaryDirectory() as out:
        start = time.process_time()
        prepare_luna16(
            scans, out, lidc_xml=xml if xml.is_dir() else None, progress=False
        )
        cost = time.process_time() - start
        records = CaseStore(Path(out)).records.values()
        slices = sum(record.source_geometry.shape[0] for record in records)
    return [
        [
            f'preparing {len(records)} scans, per 300 slices',
            f'{300 * cost / slices:.1f}',
            f'peak memory {peak_gb():.2f} GB',
        ]
    ]


def bench_phantom() -> TableRows:
    """Cost of creating phantoms, in CPU-seconds per million voxels."""
    make_phantom(0, size='small')  # the first in a process takes longer
    start = time.process_time()
    voxels = sum(
        make_phantom(seed, size='small').masks.size for seed in (1, 2, 3)
    )
    cost = (time.process_time() - start) / voxels * 1e6
    return [['small phantoms, per M voxels', f'{cost:.2f}', '']]


def bench_long(slices: int) -> TableRows:
    """Cost of inference on noise of 360 x 360 voxels and many slices."""
    rng = np.random.default_rng(0)
    image = rng.normal(-850, 60, (1, slices, 360, 360)).astype(np.int16)
    return bench_case(torch.from_numpy(image), f'{slices} slices of noise')


def in_fresh_process(
    work: Callable[..., TableRows], *args: object
) -> TableRows:
    """Rows of ``work``, run in a fresh process."""
    print(f'{work.__name__} ...', file=sys.stderr, flush=True)
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        return pool.submit(work, *args).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--store', type=Path, default='work_dirs/demo/cases')
    parser.add_argument('--scans', type=Path, help='a LUNA16 folder')
    parser.add_argument(
        '--long', type=int, default=0, help='slices of an additional long case'
    )
    parser.add_argument(
        '--side',
        type=positive_int,
        default=128,
        help='side of a training crop, voxels',
    )
    args = parser.parse_args()
    CaseStore(args.store)  # raises if there are no cases
    rows: TableRows = [['what', 'CPU-s', 'ratio']]
    rows += in_fresh_process(bench_phantom)
    if args.scans:
        rows += in_fresh_process(bench_prepare, args.scans)
    rows += in_fresh_process(bench_loader, args.store, args.side)
    rows += in_fresh_process(bench_step, args.side)
    rows += in_fresh_process(bench_windows)
    rows += in_fresh_process(bench_norm)
    rows += in_fresh_process(bench_store, args.store)
    if args.long:
        rows += in_fresh_process(bench_long, args.long)
    print(AsciiTable(rows, 'costs').table)
    if len(precisions()) == 2:
        print('this CPU has no bfloat16 arithmetic; only float32 was timed')


if __name__ == '__main__':
    with clean_errors('benchmarks.run'):
        main()
