"""An ablation: several configs on the same scans, seeds and budget.

Each config is a *row* of the table. A row has one *run* for every seed and
fold: it pre-trains if the config needs it, trains without the fold's scans and
    tests on them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lungdet.apis.ablation_table import (
    AblationRow,
    AblationTable,
    compared_row,
)
from lungdet.apis.config import load_config
from lungdet.apis.cross_validation import evaluate_tested
from lungdet.apis.fold_run import (
    config_digest,
    fold_config,
    read_tested_scans,
    root_of_test,
    run_fold,
)
from lungdet.apis.folds import (
    CONFIG_SPLIT,
    Fold,
    folds_of_config,
)
from lungdet.apis.run import train
from lungdet.engine.input_contract import InputContract
from lungdet.engine.run_manifest import RunCost, RunManifest, claim_folder
from lungdet.errors import ConfigError
from lungdet.evaluation import ScoredScan
from lungdet.registry import build_model

Options = Mapping[str, Any]  # values by dotted key


@dataclass(frozen=True)
class RowConfig:
    """The runs of one row.

    Attributes:
        name: Name of the config.
        detector: The config, loaded.
        pretrain_options: Values of the config that pre-trains.
        folds: The folds, tested one after the other.
    """

    name: str
    detector: Config
    pretrain_options: Options
    folds: Sequence[Fold]

    @property
    def pretrains(self) -> bool:
        """Whether its detectors start from pre-trained weights."""
        return bool(self.detector.get('pretrained'))

    def pretraining(self, options: Options) -> Config:
        """The config of pre-training, on the detector's cases."""
        return load_config(
            self.detector.pretrained.config,
            {
                'data_root': root_of_test(self.detector),
                **options,
                **self.pretrain_options,
            },
        )


def ablate(
    configs: Sequence[str | Path],
    out: str | Path,
    *,
    folds: str = CONFIG_SPLIT,
    seeds: int = 1,
    amp: bool = False,
    cfg_options: dict[str, Any] | None = None,
    pretrain_options: dict[str, Any] | None = None,
) -> AblationTable:
    """Pre-train if a config needs it, train and test, and make the table.

    Finished runs are reused; interrupted ones resume. Pre-training uses only
    the fold's training scans unless its options say otherwise; then the rows
    have a caveat.

    Args:
        configs: Paths of configs; the others are compared with the first.
        out: Folder for the table, and one for each config, seed and fold.
        folds: As in ``make_folds``, or ``'config'``: the split of each config.
        seeds: Number of runs of each config, with seeds 0, 1, ...
        amp: bfloat16 in training.
        cfg_options: Values by dotted key, of every config.
        pretrain_options: The same, of the configs that pre-train. With a
            ``data_root`` other than the test's they keep their own split.

    Raises:
        ConfigError: Two configs of one name, or of different test scans, or
            ``pretrained`` without the config of the pre-training: weights are
            trained again for each fold, and given files are not read.
        CheckpointError: A config whose pre-training has another window,
            network range or other plugins. Both are raised before any run.
    """
    names = [Path(path).stem for path in configs]
    if len(set(names)) < len(names):
        raise ConfigError(f'configs: {names} are not all different.')
    rows = []
    for name, path in zip(names, configs):
        config = load_config(path, cfg_options)
        all_folds = folds_of_config(config, folds)
        rows.append(RowConfig(name, config, pretrain_options or {}, all_folds))
    check_rows(rows)
    results: list[AblationRow] = []
    for row in rows:
        first = results[0] if results else None
        folder = Path(out) / row.name
        results.append(run_row(row, folder, seeds=seeds, amp=amp, first=first))
    table = AblationTable(tuple(results))
    table.write(out)
    return table


def check_rows(rows: Sequence[RowConfig]) -> None:
    """Raise errors that would otherwise occur after hours of training.

    Raises:
        ConfigError, CheckpointError: As ``ablate``.
    """
    first = rows[0]
    for row in rows:
        if _tested(row) != _tested(first):
            raise ConfigError(
                f'{row.name}: tests different scans than {first.name}, so the '
                'rows cannot be compared. Give both the same test_series or '
                'test_subsets.'
            )
        if row.pretrains:
            _check_pretraining(row)


def _tested(row: RowConfig) -> list[tuple[str, ...]]:
    return [fold.test_series for fold in row.folds]


def _check_pretraining(row: RowConfig) -> None:
    source = row.detector.pretrained.get('config')
    if not source:
        raise ConfigError(
            f'{row.name}: pretrained.config is missing; name the config that '
            'pre-trains, since an ablation trains the weights itself.'
        )
    detector = _input_contract(row.detector)
    pretraining = _input_contract(row.pretraining({}))
    detector.check(pretraining, f'{row.name}, {source}')


def _input_contract(config: Config) -> InputContract:
    """The input contract as the runner compares it, on the same cases."""
    model = build_model(config.model)
    plugins = config.model.backbone.get('plugins')
    return InputContract.of_model(model, plugins, spacing_mm=None)


def run_row(
    row: RowConfig,
    folder: Path,
    *,
    seeds: int,
    amp: bool,
    first: AblationRow | None,
) -> AblationRow:
    """Run a row's seeds and folds, and score each seed's folds together.

    Args:
        row: The row to run.
        folder: Gets ``seed_<n>/fold_<name>`` for each run.
        seeds: Number of seeds.
        amp: bfloat16 in training.
        first: The row to compare with, None if this is it.
    """
    reports, costs = [], []
    for seed in range(seeds):
        tested: dict[str, ScoredScan] = {}
        for fold in row.folds:
            run_folder = folder / f'seed_{seed}' / f'fold_{fold.name}'
            costs += run_once(row, fold, run_folder, seed=seed, amp=amp)
            tested |= read_tested_scans(fold, run_folder)
        reports.append(evaluate_tested(row.detector, tested))
    model = build_model(row.detector.model)
    return compared_row(
        row.name,
        reports,
        first,
        parameters=sum(p.numel() for p in model.parameters()),
        hours=sum(cost.seconds for cost in costs) / 3600,
        unit=costs[-1].unit,
    )


def run_once(
    row: RowConfig, fold: Fold, folder: Path, *, seed: int, amp: bool
) -> list[RunCost]:
    """One run of a row: pre-train if the row needs it, train and test.

    Returns:
        The cost of each training.
    """
    config = copy.deepcopy(row.detector)
    costs, made_of = [], None
    if row.pretrains:
        pretrain_dir = folder / 'pretrain'
        made_of = pretrain(row, fold, pretrain_dir, seed=seed, amp=amp)
        costs.append(_training_cost(pretrain_dir))
        weights = pretrain_dir / 'backbone.safetensors'
        config.pretrained.weights = str(weights)
    config.merge_from_dict({'randomness.seed': seed})
    run_fold(config, fold, folder, amp=amp, pretraining=made_of)
    return [*costs, _training_cost(folder / 'train')]


def pretrain(
    row: RowConfig, fold: Fold, folder: Path, *, seed: int, amp: bool
) -> str:
    """Pre-train on a fold's training scans, resume, or reuse the result.

    Returns:
        Digest of the config of the pre-training.

    Raises:
        ConfigError: The folder belongs to another pre-training.
    """
    config = row.pretraining({'randomness.seed': seed})
    if not fold.val_series:  # the split has no scan to validate on
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config = fold_config(config, fold, root_of_test(row.detector))
    identity = {'fold': fold.name, 'config': config_digest(config, amp)}
    manifest = claim_folder(folder, identity)
    if manifest.cost is None:  # the cost is written last
        train(config, work_dir=folder, amp=amp, resume='auto')
    return identity['config']


def _training_cost(folder: Path) -> RunCost:
    """Cost of a finished training."""
    manifest = RunManifest.read(folder)
    if manifest is None or manifest.cost is None:
        raise ConfigError(
            f'{folder}: its training has not ended, so its cost is not '
            'known; remove the folder and run it again.'
        )
    return manifest.cost
