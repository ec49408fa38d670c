"""How threads wait: steps of a narrow backbone, idle and on a busy machine.

python -m benchmarks.threads [--seconds 150] [--busy 1 2] [--side 64]

There is one process for each way of waiting. They take steps in turn, so that
other load affects all of them equally; first alone, then beside processes that
compute. Figures are medians, and ratios to torch's default. "idle" is true
only if the load, which is printed, was near 0.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.threads import WAIT_VARIABLES, available_cpus

ROOT = Path(__file__).parents[1]
WAYS: dict[str, dict[str, str]] = {
    'default': {},
    'OMP_WAIT_POLICY=PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    **{
        f'GOMP_SPINCOUNT={count}': {'GOMP_SPINCOUNT': count}
        for count in ('100', '1000', '10000')
    },
    'one thread': {'OMP_NUM_THREADS': '1'},
}
WARM_UP = 2  # steps
MIN_ROUNDS = 3  # least number of steps of each process


def take_steps(side: int, batch: int) -> None:
    """Take a step for each line of stdin, and print its duration in
    seconds."""
    import torch

    from lungdet.apis import load_config
    from lungdet.registry import build_model

    config = load_config(ROOT / 'configs' / 'nodulenet_demo.py')
    backbone = build_model(config.model).backbone
    images = torch.randn(batch, 1, side, side, side)
    for _ in sys.stdin:
        start = time.perf_counter()
        sum(maps.mean() for maps in backbone(images)).backward()
        print(time.perf_counter() - start, flush=True)


class Stepper:
    """A process that takes steps, with one way of waiting.

    Args:
        way: Environment variables that set the way of waiting; those of the
            caller are not inherited.
        side: Side of an image in voxels.
        batch: Number of images per step.
    """

    def __init__(self, way: dict[str, str], side: int, batch: int) -> None:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in (*WAIT_VARIABLES, 'OMP_NUM_THREADS')
        }
        words = ['--child', '--side', str(side), '--batch', str(batch)]
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.threads', *words],
            cwd=ROOT,
            env={**environ, **way},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Stepper:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # closes its stdin, which ends it

    def step(self) -> float:
        """Seconds of one step."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError('its pipes are closed')
        self.process.stdin.write('step\n')
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Run this many busy processes during a block."""
    code = 'while True: pass'
    started = [
        subprocess.Popen([sys.executable, '-c', code]) for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def medians(steppers: list[Stepper], seconds: float) -> tuple[np.ndarray, int]:
    """Median seconds of a step of each process, and the number of steps;
    the processes take steps in turn."""
    for _ in range(WARM_UP):
        for stepper in steppers:
            stepper.step()
    start, rounds = time.monotonic(), []
    while len(rounds) < MIN_ROUNDS or time.monotonic() - start < seconds:
        rounds.append([stepper.step() for stepper in steppers])
    return np.median(rounds, axis=0), len(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--seconds', type=float, default=150, help='of all steps together'
    )
    parser.add_argument(
        '--busy',
        type=positive_int,
        nargs='+',
        default=[1, 2],
        help='processes',
    )
    parser.add_argument('--side', type=positive_int, default=64, help='voxels')
    parser.add_argument('--batch', type=positive_int, default=6)
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        take_steps(args.side, args.batch)
        return
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')
    print(f'{available_cpus()} processors, load before {load:.2f}')
    table = [['threads', *WAYS]]
    with ExitStack() as stack:
        steppers = [
            stack.enter_context(Stepper(way, args.side, args.batch))
            for way in WAYS.values()
        ]
        for number in (0, *args.busy):
            with busy(number):
                costs, rounds = medians(
                    steppers, args.seconds / (1 + len(args.busy))
                )
            name = f'beside {number}' if number else 'idle'
            table.append(
                [
                    f'{name}, {rounds} steps',
                    *(f'{c:.3f} s, {c / costs[0]:.2f}' for c in costs),
                ]
            )
    rows = [list(row) for row in zip(*table, strict=True)]
    print(AsciiTable(rows, f'step, batch of {args.batch}').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.threads'):
        main()
