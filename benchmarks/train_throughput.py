"""Training crops per second on this CPU, and synchronisations with a GPU.

python -m benchmarks.train_throughput [--threads 2] [--steps 5]

Training steps (preprocessing, losses of all heads, backward pass, update) are
timed after a warm-up, on noise with a nodule in each crop. Crops are in
memory, so loading is not included. "waits a step" counts on a simulated GPU
how often the host would have to wait for a value before it can continue.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terminaltables import AsciiTable

from benchmarks.gpu import batch_of, seconds_of
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.threads import available_cpus, set_thread_number

if TYPE_CHECKING:
    from torch import nn

CONFIGS = Path(__file__).parents[1] / 'configs'
# config -> (side of the training crops, batch size)
CROPS = {
    'lungdet_s': ((64, 2), (64, 8), (64, 16), (96, 2), (96, 8)),
    'nodulenet_base': ((128, 1), (128, 2)),
}


def detector(config: str) -> nn.Module:
    """An untrained detector in training mode, with all heads started."""
    from lungdet.apis import load_config
    from lungdet.registry import build_model

    model = build_model(load_config(CONFIGS / f'{config}.py').model)
    model.set_epoch(1000)
    return model.train()


def crops_of(num: int, side: int) -> dict[str, Any]:
    """A batch of crops in HU, as from a data loader."""
    import torch

    samples = batch_of(num, side, torch.device('cpu'))['data_samples']
    shape = (1, side, side, side)
    return {
        'inputs': [
            torch.randint(-1000, 100, shape, dtype=torch.int16)
            for _ in range(num)
        ],
        'data_samples': samples,
    }


def crops_per_second(
    config: str, num: int, side: int, steps: int, *, bf16: bool, last: bool
) -> float:
    """Crops per second of training steps; ``last`` selects the channels-last
    memory format."""
    import torch

    model = detector(config)
    model.set_channels_last(last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    batch = crops_of(num, side)

    def step() -> None:
        data = model.data_preprocessor(batch, training=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            losses = model(**data, mode='loss')
        model.parse_losses(losses)[0].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return num / seconds_of(step, steps)


def host_waits(config: str, num: int, side: int) -> int:
    """How often the host waits for the GPU until the losses of a step are
    known."""
    from tests.pretend_cuda import PretendCuda, to_pretended_gpu

    model = to_pretended_gpu(detector(config))
    with PretendCuda() as gpu:
        model.data_preprocessor.to('cuda')
        data = model.data_preprocessor(crops_of(num, side), training=True)
        model.parse_losses(model(**data, mode='loss'))
    return len(gpu.waits)


def table(steps: int, crops: dict[str, Any]) -> list[list[str]]:
    """A row for each config, crop, precision and memory format."""
    from lungdet.ops import computes_bfloat16

    rows = [['config', 'crops', 'precision', 'crops/s', 'waits a step']]
    kinds = (False, True) if computes_bfloat16('cpu') else (False,)
    for config, sizes in crops.items():
        for side, num in sizes:
            waits = host_waits(config, num, side)
            for bf16, last in itertools.product(kinds, (False, True)):
                rate = crops_per_second(
                    config, num, side, steps, bf16=bf16, last=last
                )
                layout = 'channels last' if last else 'contiguous'
                cells = [
                    config,
                    f'{num} of {side}^3',
                    f'{"bfloat16" if bf16 else "float32"}, {layout}',
                    f'{rate:.3g}',
                    str(waits),
                ]
                print(*cells, sep=' | ', flush=True)
                rows.append(cells)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--threads', type=positive_int, default=available_cpus()
    )
    parser.add_argument('--steps', type=positive_int, default=5)
    args = parser.parse_args()
    set_thread_number(args.threads)
    rows = table(args.steps, CROPS)
    print(AsciiTable(rows, f'training, {args.threads} threads').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.train_throughput'):
        main()
