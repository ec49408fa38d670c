"""mmengine's side of scoring whole scans."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from lungdet.engine.distributed import from_all_ranks, from_main_process
from lungdet.engine.screen import say
from lungdet.evaluation import MAX_MARKS, CaseOptions, ScoredScan
from lungdet.io.case_store import CaseStore
from lungdet.io.predictions import CasePredictions
from lungdet.registry import METRICS
from lungdet.report.run_scoring import RunScoring


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """LUNA16's rule on the final score, box precision, and mask agreement.

    The arguments are the keys of a config's evaluator.

    Args:
        out_dir: Folder for results, see ``RunScoring``; None for none.
        candidates: Name of the scored candidate list, None for detection.
        bootstrap, seed, read_out, max_marks, strata: See ``CaseOptions``.
    """

    default_prefix = 'froc'

    def __init__(
        self,
        out_dir: str | Path | None = None,
        *,
        candidates: str | None = None,
        bootstrap: int = 1000,
        seed: int = 0,
        read_out: str = 'interp',
        max_marks: int | None = MAX_MARKS,
        strata: str | None = None,
    ) -> None:
        super().__init__()
        self.out_dir = None if out_dir is None else Path(out_dir)
        given = candidates is not None
        self.options = CaseOptions(
            bootstrap, seed, read_out, max_marks, strata, given
        )
        self.caveats: tuple[str, ...] = ()

    def state_caveats(self, caveats: Sequence[str]) -> None:
        """Set what every table must say, before the first scan."""
        self.caveats = tuple(caveats)

    @cached_property
    def scoring(self) -> RunScoring:
        """Scoring against the cases of the data set that mmengine named."""
        store = CaseStore(self.dataset_meta['data_root'])
        return RunScoring(store, self.options, self.out_dir, self.caveats)

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Score each scan, and keep the score."""
        for sample in data_samples:
            scan = self.scoring.score(
                sample['series_uid'],
                CasePredictions.of(sample['pred_instances']),
                sample['affine'],
                sample.get('losses') or {},
            )
            self.results.append(scan)

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the scans of all ranks on rank 0, each once."""
        scans = from_all_ranks(self.results)
        self.results.clear()
        return from_main_process(lambda: self.compute_metrics(scans))

    def compute_metrics(self, results: list[ScoredScan]) -> dict[str, float]:
        """Metrics of all listed scans; prints and writes the report."""
        meta = self.dataset_meta
        report = self.scoring.report(
            results, meta['series_uids'], meta.get('num_listed')
        )
        say(report.text())
        return report.metrics()
