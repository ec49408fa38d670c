"""The first training steps of a detector, with and without pre-training.

python -m benchmarks.pretraining_proxy OUT \
  --start full=BACKBONE --start encoder=BACKBONE:encoder \
  --cfg-options data_root=CASES train_dataloader.dataset...

A full training would be more conclusive, but takes hours. This benchmark runs
the first 240 steps of configs/lungdet_s.py, which train only the backbone and
the RPN, from random weights (fresh) and from each --start; with the same seed,
crops and initial heads are the same. The table has the mean RPN loss of the
last 40 steps for each seed, and its difference from fresh, paired by seed.
"rank" and "smooth" describe the features before the first step: their
effective rank, and the fraction of their variance that remains after a mean
over 5^3 cells; "rank after" is the rank on the same crops after the last step.
Runs that are already in OUT, with the same settings and weights, are not
repeated.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from scipy.stats import t as student
from terminaltables import AsciiTable

from lungdet.apis import load_config, train
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import add_cfg_options, positive_int
from lungdet.engine.pretraining_hooks import spread_indices
from lungdet.errors import ConfigError
from lungdet.io.atomic import scratch_folder, write_text
from lungdet.io.digests import sha256_of
from lungdet.models.ssl.genesis import feature_rank, high_pass
from lungdet.registry import HOOKS

CONFIG = Path(__file__).parents[1] / 'configs' / 'lungdet_s.py'
# 320 crops per epoch, mixed as in the config, but without hard negatives
FIRST = 'train_dataloader.dataset.datasets.0.crops'
SECOND = 'train_dataloader.dataset.datasets.1.crops'
CROPS = {
    FIRST: {
        'nodule': 40,
        'mined': 0,
        'lung': 136,
        'inserted': 84,
        'anywhere': 12,
    },
    SECOND: {'nodule': 36, 'lung': 12},
}
EPOCHS = 6  # of 40 steps
LAST_STEPS = 40
NUM_CROPS = 16  # whose features are described
CELLS = 5
FRESH = 'fresh'


@dataclass(frozen=True)
class Start:
    """Initial weights of a backbone.

    Attributes:
        name: Name in the table.
        weights: An exported backbone; None for random weights.
        parts: ``pretrained.parts`` of the config.
    """

    name: str
    weights: Path | None = None
    parts: str = 'all'

    @classmethod
    def parse(cls, text: str) -> Start:
        """Parse NAME=WEIGHTS or NAME=WEIGHTS:encoder.

        Raises:
            ConfigError: The text has another form, or the name cannot be a
                file name.
        """
        name, _, rest = text.partition('=')
        path, colon, parts = rest.rpartition(':')
        if not path:
            path, parts = rest, 'all'
        if not path or not name.isidentifier() or name == FRESH:
            raise ConfigError(
                f'--start {text}: give NAME=WEIGHTS or NAME=WEIGHTS:encoder; '
                f'NAME consists of letters, digits and _, and is not {FRESH}.'
            )
        return cls(name, Path(path), parts)


@dataclass(frozen=True)
class Run:
    """One short training.

    Attributes:
        loss: Mean loss of the last steps.
        rank: Effective rank of the features before the first step.
        rank_after: The same after the last step.
        smooth: ``smooth_variance`` of the features before the first step.
        cpu_seconds: CPU time of all steps, data loading included.
    """

    loss: float
    rank: float
    rank_after: float
    smooth: float
    cpu_seconds: float


@HOOKS.register_module(force=True)
class FirstStepsHook(Hook):
    """Records the loss of every step, and the features of some crops before
    the first step and after the last."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.features: list[torch.Tensor] = []
        self.crops: dict[str, Any] = {}

    def before_train(self, runner: Any) -> None:
        dataset = runner.train_dataloader.dataset
        indices = spread_indices(NUM_CROPS, len(dataset))
        self.crops = pseudo_collate([dataset[k] for k in indices])
        self._describe(runner)

    def after_train(self, runner: Any) -> None:
        self._describe(runner)

    def _describe(self, runner: Any) -> None:
        model = copy.deepcopy(runner.bare_model).train()
        with torch.no_grad():
            images = model.data_preprocessor(self.crops, True)['inputs']
            self.features.append(model.extract_feat(images)[-1])

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        self.losses.append(float((outputs or {})['loss']))


def smooth_variance(features: torch.Tensor) -> float:
    """Fraction of the variance of features (B, C, D, H, W) that remains after
    a mean over 5^3 cells, averaged over the channels that vary."""
    smooth = features - high_pass(features, CELLS)
    whole, left = (x.var((0, 2, 3, 4)) for x in (features, smooth))
    varies = whole > 0
    return float((left[varies] / whole[varies]).mean())


def short_config(
    config: str | Path, options: Mapping[str, Any], epochs: int
) -> Config:
    """A config without hooks, validation and test, for a few epochs."""
    gone = ('val_dataloader', 'val_cfg', 'val_evaluator')
    gone += ('test_dataloader', 'test_cfg', 'test_evaluator')
    cfg = load_config(
        config,
        {
            'train_cfg.max_epochs': epochs,
            'custom_hooks': [],
            'default_hooks.checkpoint.save_best': None,
            **dict.fromkeys(gone),
            **options,
        },
    )
    cfg.default_hooks.checkpoint.interval = epochs
    return cfg


def first_steps(cfg: Config, start: Start, seed: int, folder: Path) -> Run:
    """Train for a few epochs; return loss, features and cost."""
    cfg = copy.deepcopy(cfg)
    cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}
    cfg.custom_hooks = [{'type': 'FirstStepsHook'}]
    cfg.pretrained = None
    if start.weights is not None:
        cfg.pretrained = {'weights': str(start.weights), 'parts': start.parts}
    begin = time.process_time()
    runner = train(cfg, work_dir=folder, amp=True)
    (hook,) = (h for h in runner.hooks if isinstance(h, FirstStepsHook))
    before_first, after_last = hook.features
    return Run(
        loss=float(np.mean(hook.losses[-LAST_STEPS:])),
        rank=float(feature_rank(before_first)),
        rank_after=float(feature_rank(after_last)),
        smooth=smooth_variance(before_first),
        cpu_seconds=time.process_time() - begin,
    )


def kept_run(cfg: Config, start: Start, seed: int, out: Path) -> Run:
    """Load a run with these settings from OUT, or make it."""
    path = out / f'{start.name}_seed{seed}.json'
    settings = {
        'config': cfg.pretty_text,
        'seed': seed,
        'parts': start.parts,
        'weights': start.weights and sha256_of(start.weights),
    }
    if path.is_file():
        stored = json.loads(path.read_text(encoding='utf-8'))
        if stored['settings'] == settings:
            return Run(**stored['run'])
    with scratch_folder(out) as folder:
        run = first_steps(cfg, start, seed, folder)
    content = {'settings': settings, 'run': vars(run)}
    write_text(path, json.dumps(content, indent=1))
    return run


def difference(losses: Sequence[float], fresh: Sequence[float]) -> str:
    """Mean difference, and its 95 % interval (Student's t, by seed)."""
    change = np.array(losses) - np.array(fresh)
    if len(change) < 2:
        return f'{change.mean():+.2f}'
    half = student.ppf(0.975, len(change) - 1) * change.std(ddof=1)
    half /= np.sqrt(len(change))
    low, high = change.mean() - half, change.mean() + half
    return f'{change.mean():+.2f} ({low:+.2f} to {high:+.2f})'


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """The table, with a row for each start, including fresh."""
    fresh = [run.loss for run in runs[FRESH]]
    rows = [
        [
            *('start', 'loss', 'seeds', 'to fresh'),
            *('rank', 'rank after', 'smooth', 'CPU-s'),
        ]
    ]
    for name, of_start in runs.items():
        losses = [run.loss for run in of_start]
        rows.append(
            [
                name,
                f'{np.mean(losses):.2f}',
                ' '.join(f'{loss:.2f}' for loss in losses),
                '-' if name == FRESH else difference(losses, fresh),
                f'{np.mean([run.rank for run in of_start]):.1f}',
                f'{np.mean([run.rank_after for run in of_start]):.1f}',
                f'{np.mean([run.smooth for run in of_start]):.2f}',
                f'{sum(run.cpu_seconds for run in of_start):.0f}',
            ]
        )
    return AsciiTable(rows, f'{len(fresh)} seeds').table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('out', type=Path)
    parser.add_argument('--start', action='append', default=[])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=positive_int, default=EPOCHS)
    add_cfg_options(parser)
    args = parser.parse_args()
    options = {**CROPS, **(args.cfg_options or {})}
    cfg = short_config(CONFIG, options, args.epochs)
    args.out.mkdir(parents=True, exist_ok=True)
    starts = [Start(FRESH), *map(Start.parse, args.start)]
    runs: dict[str, list[Run]] = {start.name: [] for start in starts}
    for seed in args.seeds:
        for start in starts:
            run = kept_run(cfg, start, seed, args.out)
            runs[start.name].append(run)
            print(
                f'{start.name}, seed {seed}: loss {run.loss:.3f}, '
                f'{run.cpu_seconds:.0f} CPU-s',
                flush=True,
            )
    print(table(runs))


if __name__ == '__main__':
    with clean_errors('benchmarks.pretraining_proxy'):
        main()
