"""Cross-validation: train and test every fold, score all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from lungdet.apis.config import load_config
from lungdet.apis.evaluators import case_options
from lungdet.apis.fold_run import read_tested_scans, run_fold
from lungdet.apis.folds import (
    SUBSETS,
    Fold,
    folds_of_config,
    prepared_records,
)
from lungdet.errors import ConfigError
from lungdet.evaluation import (
    EvaluationReport,
    ScoredScan,
    evaluate_cases,
    froc_table,
)
from lungdet.io.atomic import write_text
from lungdet.io.reference_set import official_reference
from lungdet.report.evaluation_files import write_run

MAX_LABEL = 16  # longer fold names are shortened to their ends


@dataclass(frozen=True)
class CrossValidation:
    """Results of all folds.

    Attributes:
        pooled: All scans scored together.
        folds: Name -> the scans of that fold alone.
    """

    pooled: EvaluationReport
    folds: dict[str, EvaluationReport]

    def text(self) -> str:
        """The pooled results, and those of each fold."""
        results = {'pooled': self.pooled.result}
        for label, report in zip(
            _short_labels(self.folds), self.folds.values()
        ):
            results[f'fold {label}'] = report.result
        lines = [
            self.pooled.text(),
            froc_table(results, listed=self.pooled.num_listed),
        ]
        cpms = [report.result.cpm for report in self.folds.values()]
        known = [cpm for cpm in cpms if cpm is not None]
        if known:
            lines.append(
                f'mean of the CPMs of {len(known)} folds '
                f'{sum(known) / len(known):.3f}; the rule is the pooled one'
            )
        return '\n'.join(lines)


def _short_labels(names: Mapping[str, Any]) -> list[str]:
    """Ends of long names, such as series uids, if they are distinct."""
    labels = [f'...{n[-8:]}' if len(n) > MAX_LABEL else n for n in names]
    return labels if len(set(labels)) == len(labels) else list(names)


def cross_validate(
    config: str | Path,
    folds: str,
    out: str | Path,
    *,
    amp: bool = False,
    cfg_options: dict[str, Any] | None = None,
) -> CrossValidation:
    """Train and test every fold, pool the detections, evaluate once.

    Folds are independent: several processes may each run some of them into one
    folder, and a final call for all of them pools. Every fold must start from
    the same initial weights; this is checked.

    Args:
        config: Path of a config.
        folds: As in ``make_folds``.
        out: Folder for one folder per fold, and for ``pooled`` (of some of
            the subsets, such as 0-3, ``pooled_0-3``).
        amp: bfloat16 in training.
        cfg_options: Values by dotted key.

    Raises:
        ConfigError: As ``make_folds`` and ``run_fold``, or a fold that started
            from other weights.
    """
    out = Path(out)
    cfg = load_config(config, cfg_options)
    all_folds = folds_of_config(cfg, folds)
    tested: dict[str, ScoredScan] = {}
    reports: dict[str, EvaluationReport] = {}
    starts: dict[str, str] = {}
    for number, fold in enumerate(all_folds, start=1):
        folder = out / f'fold_{fold.name}'
        print_log(f'fold {fold.name}: {number} of {len(all_folds)}', 'current')
        starts[fold.name] = run_fold(cfg, fold, folder, amp=amp).weights
        check_fresh(starts)
        scans = read_tested_scans(fold, folder)
        reports[fold.name] = evaluate_tested(cfg, scans, [fold])
        tested |= scans
    pooled = evaluate_tested(cfg, tested, all_folds)
    result = CrossValidation(pooled, reports)
    folder = out / _pooled_name(cfg, folds, tested)
    write_run(folder, pooled, tested)
    write_text(folder / 'folds.txt', result.text() + '\n')
    return result


def _pooled_name(
    config: Config, folds: str, tested: Mapping[str, ScoredScan]
) -> str:
    """``pooled``; of some subsets only, with their numbers, so that it does
    not replace the results of all."""
    left_out = [
        uid
        for uid, record in prepared_records(config).items()
        if record.subset is not None and uid not in tested
    ]
    is_part = SUBSETS.fullmatch(folds) and left_out
    return f'pooled_{folds}' if is_part else 'pooled'


def evaluate_tested(
    config: Config, scans: Mapping[str, ScoredScan], folds: Sequence[Fold]
) -> EvaluationReport:
    """Score tested scans together, with a config's evaluation options.

    Args:
        config: Its ``test_evaluator`` has the options.
        scans: Series uid -> tested scan, of all ``folds``.
        folds: The folds that were tested.
    """
    return evaluate_cases(
        scans,
        prepared_records(config),
        case_options(config),
        official=official_reference(),
        num_listed=sum(fold.num_listed for fold in folds),
    )


def check_fresh(starts: Mapping[str, str]) -> None:
    """Check that all folds started from the same weights.

    Args:
        starts: Digest of the first weights, by fold.

    Raises:
        ConfigError: They differ.
    """
    (first, fresh), *others = starts.items()
    for name, weights in others:
        if weights != fresh:
            raise ConfigError(
                f'fold {name}: training did not start from the weights that '
                f'fold {first} started from, so they are not fresh. '
                'Remove the folder of the fold and run it again.'
            )
