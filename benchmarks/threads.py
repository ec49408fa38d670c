"""How threads wait: steps of a narrow backbone, idle and beside other work.

python -m benchmarks.threads [--steps 15] [--busy 1] [--side 64] [--batch 6]

One process for each way to wait takes a step in turn, so that what else the
machine does affects all alike; then the same again beside processes that
compute. Figures are medians, and ratios to torch's default.
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

from lungdet.threads import WAIT_VARIABLES

ROOT = Path(__file__).parents[1]
WAYS: dict[str, dict[str, str]] = {
    'default': {},
    'GOMP_SPINCOUNT=1000': {'GOMP_SPINCOUNT': '1000'},
    'OMP_WAIT_POLICY=PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    'one thread': {'OMP_NUM_THREADS': '1'},
}
WARM_UP = 2


def take_steps(side: int, batch: int) -> None:
    """Take a step for each line of stdin; answer with its seconds."""
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
    """A process that takes steps, waiting in its own way.

    Args:
        way: Variables that it gets; it inherits none of their kind.
        side: Of an image, voxels.
        batch: Images of a step.
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
    """Beside so many processes that compute."""
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


def medians(steppers: list[Stepper], steps: int) -> np.ndarray:
    """Seconds of a step of each, taken in turn."""
    for _ in range(WARM_UP):
        for stepper in steppers:
            stepper.step()
    return np.median(
        [[stepper.step() for stepper in steppers] for _ in range(steps)],
        axis=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=15, help='of each way')
    parser.add_argument('--busy', type=int, default=1, help='processes')
    parser.add_argument('--side', type=int, default=64, help='voxels')
    parser.add_argument('--batch', type=int, default=6)
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        take_steps(args.side, args.batch)
        return
    with ExitStack() as stack:
        steppers = [
            stack.enter_context(Stepper(way, args.side, args.batch))
            for way in WAYS.values()
        ]
        idle = medians(steppers, args.steps)
        with busy(args.busy):
            beside = medians(steppers, args.steps)
    rows = [['threads', 'idle, s', 'ratio', f'beside {args.busy}, s', 'ratio']]
    for name, alone, shared in zip(WAYS, idle, beside, strict=True):
        rows.append(
            [
                name,
                f'{alone:.3f}',
                f'{alone / idle[0]:.2f}',
                f'{shared:.3f}',
                f'{shared / beside[0]:.2f}',
            ]
        )
    print(AsciiTable(rows, f'step, batch of {args.batch}').table)


if __name__ == '__main__':
    main()
