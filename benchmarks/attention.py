"""Cost of plugins in all 16 blocks of FeatureNet: time and live memory.

python -m benchmarks.attention [--side 128] [--runs 5] [--plugins NAME ...]
    [--channels-last] [--bf16]
python -m benchmarks.attention --conv

One crop, CPU-seconds of one thread. Each run times all networks in turn, and
gives their ratios to the plain network; the table has the median and the range
of these ratios. Live memory is the peak of allocated tensor bytes in the
profiler's record of one forward and backward pass.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault('KINETO_LOG_LEVEL', '9')  # silence it, before torch

import numpy as np
import torch
from terminaltables import AsciiTable
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.models import FeatureNet
from lungdet.ops.conv import METHODS, map_conv
from lungdet.registry import MODELS
from tests.oracles.quartet import PermutingQuartet

MODELS.register_module(module=PermutingQuartet)
PLAIN = 'none'
MAPS = ((64, 64, 64), (32, 64, 64), (128, 32, 32), (64, 16, 16), (64, 8, 8))
MIB = 2**20


def build(plugin: str) -> nn.Module:
    """FeatureNet with a plugin in every block."""
    torch.manual_seed(0)
    plugins = [{'cfg': {'type': plugin}, 'position': 'after_conv2'}]
    return FeatureNet(plugins=None if plugin == PLAIN else plugins)


def train_step(net: nn.Module, crop: Tensor) -> None:
    net.train().zero_grad(set_to_none=True)
    sum(out.float().mean() for out in net(crop)).backward()


def infer(net: nn.Module, crop: Tensor) -> None:
    net.eval()
    with torch.inference_mode():
        net(crop)


def cpu_seconds(work: Callable, *args: object) -> float:
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def live_bytes(work: Callable, *args: object) -> float:
    """Peak of live tensor bytes while ``work`` runs."""
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as record:
        work(*args)
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in record.profiler.kineto_results.events()
        if event.name() == '[memory]'
    )
    return float(np.cumsum([size for _, size in changes]).max())


def bench_plugins(
    names: list[str], crop: Tensor, *, runs: int, layout: torch.memory_format
) -> list[list[str]]:
    """A row for the plain network, then one for each plugin."""
    nets = {
        name: build(name).to(memory_format=layout) for name in [PLAIN, *names]
    }
    crop = crop.contiguous(memory_format=layout)
    seconds: dict[tuple, list[float]] = {}
    for run in tqdm(range(runs + 1), desc='paired runs', leave=False):
        for work in (train_step, infer):
            for name, net in nets.items():
                cost = cpu_seconds(work, net, crop)
                if run:  # the first run is a warm-up
                    seconds.setdefault((work, name), []).append(cost)
    for net in nets.values():
        net.zero_grad(set_to_none=True)
    live = {n: live_bytes(train_step, net, crop) for n, net in nets.items()}
    rows = []
    for name in nets:
        row = [name, f'{np.median(seconds[train_step, name]):.2f}']
        for work in (train_step, infer):
            ratios = np.divide(seconds[work, name], seconds[work, PLAIN])
            low, middle, high = 100 * (np.quantile(ratios, (0, 0.5, 1)) - 1)
            row.append(f'{middle:+.1f} % ({low:+.1f} .. {high:+.1f})')
        extra = (live[name] - live[PLAIN]) / MIB
        rows.append([*row, f'{live[name] / MIB:.0f}', f'{extra:+.0f}'])
    return rows


def bench_convolutions(runs: int) -> list[list[str]]:
    """Milliseconds, forward and backward, of each convolution method on
    QAM's maps."""

    def step(method: str, maps: Tensor, weight: Tensor) -> None:
        map_conv(maps, weight, method).sum().backward()

    rows = []
    for shape in MAPS:
        maps = torch.randn(1, 2, *shape, requires_grad=True)
        weight = torch.randn(1, 2, 7, 7, 7, requires_grad=True)
        row = ['x'.join(map(str, shape))]
        for method in METHODS:
            cost = [
                cpu_seconds(step, method, maps, weight)
                for _ in range(runs + 1)
            ]
            row.append(f'{1000 * np.median(cost[1:]):.1f}')
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--side', type=positive_int, default=128)
    parser.add_argument('--runs', type=positive_int, default=5)
    parser.add_argument(
        '--plugins',
        nargs='+',
        default=['PermutingQuartet', 'QuartetAttention'],
        help='types of plugins to compare with the plain network',
    )
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument(
        '--bf16', action='store_true', help='autocast, as --amp trains'
    )
    parser.add_argument(
        '--conv', action='store_true', help='time the convolution methods'
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.conv:
        rows = [['map', *(f'{method}, ms' for method in METHODS)]]
        rows += bench_convolutions(args.runs)
        print(AsciiTable(rows, '7x7x7, 2 channels to 1').table)
        return
    rows = [
        ['plugin', 'step, CPU-s', 'step', 'inference', 'live MiB', 'extra MiB']
    ]
    crop = torch.randn(1, 1, args.side, args.side, args.side)
    layout = torch.contiguous_format
    if args.channels_last:
        layout = torch.channels_last_3d
    with torch.autocast('cpu', torch.bfloat16, enabled=args.bf16):
        rows += bench_plugins(
            args.plugins, crop, runs=args.runs, layout=layout
        )
    title = f'FeatureNet, 1x1x{args.side}^3, 16 blocks'
    print(AsciiTable(rows, title).table)


if __name__ == '__main__':
    with clean_errors('benchmarks.attention'):
        main()
