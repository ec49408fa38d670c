"""Crops per second and peak memory of training on a GPU.

python -m benchmarks.gpu [--side 128] [--batch 16] [--steps 20] [--minutes 8]
    [--no-compile]

BASE with all heads in bfloat16. Its backbone is plain, has quartet attention
as lungdet computes it, or as its authors do, by permuted copies; each with and
without ``torch.compile`` of the backbone. "Of the peak" is the network's
operations per second relative to those of a large convolution on this GPU,
which is measured first. Each row runs in a separate process, which is stopped
when the time is up. For a trial on a CPU use ``--side 16 --batch 2 --steps
1``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int

if TYPE_CHECKING:
    import torch
    from torch import nn

ROOT = Path(__file__).parents[1]
BACKBONES = {
    'base': None,
    'QAM': 'QuartetAttention',
    'QAM, permuting': 'PermutingQuartet',
}
HEADER = ['', 'compiled', 'crops/s', 'peak GB', 'of the peak']
NO_TIME = 'no time left'
WARM_UP = 3  # steps, during which ``torch.compile`` compiles the network


def device_of_choice() -> torch.device:
    """The GPU if there is one, else the CPU."""
    import torch

    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def detector(plugin: str | None, device: torch.device) -> nn.Module:
    """BASE in training mode, with a plugin in every block."""
    from lungdet.apis import load_config
    from lungdet.registry import MODELS, build_model
    from tests.oracles.quartet import PermutingQuartet

    MODELS.register_module(module=PermutingQuartet, force=True)
    model = load_config(ROOT / 'configs' / 'nodulenet_base.py').model
    if plugin is not None:
        attention = {'cfg': {'type': plugin}, 'position': 'after_conv2'}
        model.backbone.plugins = [attention]
    return build_model(model).to(device).train()


def batch_of(num: int, side: int, device: torch.device) -> dict[str, Any]:
    """A batch of noise, with a nodule in the middle of each crop."""
    import torch
    from mmengine.structures import InstanceData

    from lungdet.data_sample import DetDataSample

    low, high = side // 2 - 5, side // 2 + 5
    samples = []
    for _ in range(num):
        sample = DetDataSample()
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[low] * 3 + [high] * 3]).float(),
            labels=torch.ones(1, dtype=torch.long),
            ids=torch.ones(1, dtype=torch.long),
            has_mask=torch.ones(1, dtype=torch.bool),
        ).to(device)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6)).to(
            device
        )
        mask = torch.zeros(side, side, side, dtype=torch.uint8, device=device)
        mask[low:high, low:high, low:high] = 1
        sample.gt_masks = mask
        samples.append(sample)
    images = torch.randn(num, 1, side, side, side, device=device)
    return {'inputs': images, 'data_samples': samples}


def seconds_of(work: Callable[[], object], runs: int) -> float:
    """Mean seconds of a run, after warm-up runs."""
    import torch

    def settle() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    for _ in range(min(WARM_UP, runs)):
        work()
    settle()
    start = time.perf_counter()
    for _ in range(runs):
        work()
    settle()
    return (time.perf_counter() - start) / runs


def convolution_peak(side: int) -> float:
    """Operations per second of a convolution of 128 channels in bfloat16."""
    import torch

    like = {
        'device': device_of_choice(),
        'dtype': torch.bfloat16,
    }
    layout = torch.channels_last_3d
    x = torch.randn(4, 128, side, side, side, **like)
    weight = torch.randn(128, 128, 3, 3, 3, **like)
    x, weight = x.to(memory_format=layout), weight.to(memory_format=layout)
    with torch.no_grad():
        cost = seconds_of(
            lambda: torch.nn.functional.conv3d(x, weight, padding=1), 5
        )
    return 2 * 27 * 128 * x.numel() / cost


def operations_of(plugin: str | None, data: dict[str, Any]) -> float:
    """Number of operations of a training step, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    model = detector(plugin, data['inputs'].device)
    with FlopCounterMode(display=False) as counter:
        sum(model(**data, mode='loss').values()).backward()
    return counter.get_total_flops()


def bench(
    plugin: str | None, *, compiled: bool, batch: int, side: int, steps: int
) -> dict[str, float | None]:
    """Crops per second, peak memory in GB (None on a CPU), and operations per
    crop."""
    import torch

    device = device_of_choice()
    data = batch_of(batch, side, device)
    few = {name: values[:2] for name, values in data.items()}
    operations = operations_of(plugin, few) / len(few['inputs'])
    model = detector(plugin, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    if compiled:
        model.backbone.compile()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            losses = model(**data, mode='loss')
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    rate = batch / seconds_of(step, steps)
    peak = None
    if device.type == 'cuda':
        peak = torch.cuda.max_memory_allocated() / 1e9
    return {'rate': rate, 'peak_gb': peak, 'operations': operations}


def measured(words: Sequence[str], end: float) -> dict[str, Any] | str:
    """Result of a process before a deadline, or the reason for its failure."""
    left = end - time.monotonic()
    if left <= 0:
        return NO_TIME
    try:
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.gpu', *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=left,
        )
    except subprocess.TimeoutExpired:
        return NO_TIME
    if done.returncode:
        return (done.stderr.splitlines() or [f'exit {done.returncode}'])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def table(args: argparse.Namespace) -> None:
    """Measure row by row, and print each immediately."""
    end = time.monotonic() + 60 * args.minutes
    sizes = ['--side', args.side, '--batch', args.batch, '--steps', args.steps]
    words = [str(word) for word in sizes]
    first = measured(['--child', 'convolution', *words], end)
    if isinstance(first, str):
        print(f'convolution: {first}')
        return
    print(first['device'])
    print(f'convolution of 128 channels: {first["peak"] / 1e12:.3g} TFLOP/s')
    rows = [HEADER]
    for compiled in (False,) if args.no_compile else (False, True):
        for name in BACKBONES:
            options = ['--compiled'] * compiled
            result = measured(['--child', name, *options, *words], end)
            cells = [result, '', '']
            if not isinstance(result, str):
                part = result['rate'] * result['operations'] / first['peak']
                memory = result['peak_gb']
                cells = [
                    f'{result["rate"]:.3g}',
                    '-' if memory is None else f'{memory:.1f}',
                    f'{part:.0%}',
                ]
            rows.append([name, 'yes' if compiled else 'no', *cells])
            print(*rows[-1], flush=True)
    print(AsciiTable(rows, f'{args.batch} crops of {args.side}^3').table)


def child(args: argparse.Namespace) -> None:
    """Measure one row, and print the result as JSON."""
    import torch

    torch.backends.cudnn.benchmark = True
    if args.child == 'convolution':
        on_gpu = torch.cuda.is_available()
        result: dict[str, Any] = {
            'device': torch.cuda.get_device_name() if on_gpu else 'CPU: trial',
            'peak': convolution_peak(args.side // 4),
        }
    else:
        result = bench(
            BACKBONES[args.child],
            compiled=args.compiled,
            batch=args.batch,
            side=args.side,
            steps=args.steps,
        )
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--side', type=positive_int, default=128, help='voxels'
    )
    parser.add_argument('--batch', type=positive_int, default=16)
    parser.add_argument('--steps', type=positive_int, default=20)
    parser.add_argument(
        '--minutes', type=float, default=8, help='of all rows together'
    )
    parser.add_argument('--no-compile', action='store_true')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    parser.add_argument(
        '--compiled', action='store_true', help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.child:
        child(args)
    else:
        table(args)


if __name__ == '__main__':
    with clean_errors('benchmarks.gpu'):
        main()
