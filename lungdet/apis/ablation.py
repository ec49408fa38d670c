"""An ablation study: several configs with the same scans, seeds and schedule.

Each config is a *row* of the table. A row has one *run* for every seed and
fold: it pre-trains if the config needs it, trains without the fold's test
scans, and tests on them.
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
from lungdet.apis.evaluators import case_options
from lungdet.apis.fold_run import (
    cases_digest,
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
    prepared_records,
)
from lungdet.apis.run import train
from lungdet.engine.input_contract import InputContract
from lungdet.engine.run_manifest import RunCost, RunManifest, claim_folder
from lungdet.errors import ConfigError
from lungdet.evaluation import ScoredScan
from lungdet.registry import build_model

Options = Mapping[str, Any]  # config values by dotted key


@dataclass(frozen=True)
class RowConfig:
    """The runs of one row.

    Attributes:
        name: Name of the config.
        detector: The loaded config of the detector.
        pretrain_options: Overrides of the pre-training config, by dotted key.
        folds: The folds, run one after another.
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
        """The pre-training config, with the detector's case store."""
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
    """Pre-train where a config needs it, train, test and write the table.

    Finished runs are reused; interrupted ones resume. Pre-training uses only
    the fold's training scans unless its options say otherwise; in that case
    the rows carry a caveat.

    Args:
        configs: Paths of the configs; all are compared with the first.
        out: Output folder: the table, and a subfolder for each config, seed
            and fold.
        folds: As in ``make_folds``, or ``'config'``: the split of each config.
        seeds: Number of seeds (0, 1, ...) that each config is run with.
        amp: Train in bfloat16.
        cfg_options: Overrides of every config, by dotted key.
        pretrain_options: Overrides of the pre-training configs. If they set a
            ``data_root`` other than that of the test, pre-training keeps its
            own split.

    Raises:
        ConfigError: Two configs have the same name, different test scans or
            rules of scoring; no test scan has a nodule; or ``pretrained``
            names no pre-training config. (An ablation trains the weights anew
            for each fold; weight files are not read.)
        CheckpointError: The pre-training of a config has another HU window,
            output range or other plugins. Both are raised before any run
            starts.
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
    """Catch errors that would otherwise occur after hours of training.

    Raises:
        ConfigError, CheckpointError: As in ``ablate``.
    """
    first = rows[0]
    records = prepared_records(first.detector)
    tested = [uid for series in _tested(first) for uid in series]
    if not any(records[uid].nodules for uid in tested):
        raise ConfigError(
            f'{first.name}: the {len(tested)} test scans have no nodules, so '
            'nothing could be compared; test scans with nodules.'
        )
    for row in rows:
        if _tested(row) != _tested(first):
            raise ConfigError(
                f'{row.name}: tests different scans than {first.name}, so the '
                'rows cannot be compared. Give both the same test_series or '
                'test_subsets.'
            )
        if _rule(row) != _rule(first):
            raise ConfigError(
                f'{row.name}: test_evaluator has (read_out, max_marks) '
                f'{_rule(row)}, {first.name} has {_rule(first)}; give both '
                'the same, or the rows cannot be compared.'
            )
        if row.pretrains:
            _check_pretraining(row)


def _rule(row: RowConfig) -> tuple[str, int | None]:
    """The options of the test that change sensitivities."""
    options = case_options(row.detector)
    return options.read_out, options.max_marks


def _tested(row: RowConfig) -> list[tuple[str, ...]]:
    return [fold.test_series for fold in row.folds]


def _check_pretraining(row: RowConfig) -> None:
    source = row.detector.pretrained.get('config')
    if not source:
        raise ConfigError(
            f'{row.name}: pretrained.config is missing; set it to the '
            'pre-training config, since an ablation trains the weights itself.'
        )
    detector = _input_contract(row.detector)
    pretraining = _input_contract(row.pretraining({}))
    detector.check(pretraining, f'{row.name}, {source}')


def _input_contract(config: Config) -> InputContract:
    """The input contract that the runner compares.

    The spacing is left out, since both configs use the same cases.
    """
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
    """Run all seeds and folds of a row; pool the folds of each seed.

    Args:
        row: The row to run.
        folder: Folder of the row; each run writes ``seed_<n>/fold_<name>``.
        seeds: Number of seeds.
        amp: Train in bfloat16.
        first: The row to compare with; None for the first row itself.
    """
    reports, costs = [], []
    for seed in range(seeds):
        tested: dict[str, ScoredScan] = {}
        for fold in row.folds:
            run_folder = folder / f'seed_{seed}' / f'fold_{fold.name}'
            costs += run_once(row, fold, run_folder, seed=seed, amp=amp)
            tested |= read_tested_scans(fold, run_folder)
        reports.append(evaluate_tested(row.detector, tested, row.folds))
    model = build_model(row.detector.model)
    return compared_row(
        row.name,
        reports,
        first,
        parameters=sum(p.numel() for p in model.parameters()),
        hours=sum(cost.seconds for cost in costs) / 3600,
        unit='+'.join(sorted({cost.unit for cost in costs})),
        options=case_options(row.detector),
    )


def run_once(
    row: RowConfig, fold: Fold, folder: Path, *, seed: int, amp: bool
) -> list[RunCost]:
    """One run of a row: pre-train if needed, train and test.

    Returns:
        The cost of the pre-training, if any, and of the training.
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
    """Pre-train on a fold's training scans.

    An interrupted pre-training resumes; the result of a finished one is
    reused.

    Returns:
        Digest of the pre-training config.

    Raises:
        ConfigError: The folder belongs to a different pre-training run.
    """
    config = row.pretraining({'randomness.seed': seed})
    if not fold.val_series:  # the split has no validation scans
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config = fold_config(config, fold, root_of_test(row.detector))
    identity = {
        'fold': fold.name,
        'config': config_digest(config, amp),
        'cases': cases_digest(config),
    }
    manifest = claim_folder(folder, identity)
    if manifest.cost is None:  # written last, when training has finished
        train(config, work_dir=folder, amp=amp, resume='auto')
    return identity['config']


def _training_cost(folder: Path) -> RunCost:
    """Cost of a finished training."""
    manifest = RunManifest.read(folder)
    if manifest is None or manifest.cost is None:
        raise ConfigError(
            f'{folder}: the training has not finished, so its cost is '
            'unknown; remove the folder and run the ablation again.'
        )
    return manifest.cost
