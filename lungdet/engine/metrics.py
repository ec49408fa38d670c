"""Whole-scan evaluation as an mmengine metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    is_main_process,
)
from mmengine.evaluator import BaseMetric

from lungdet.engine.screen import say
from lungdet.errors import ConfigError
from lungdet.evaluation import (
    MAX_MARKS,
    CaseOptions,
    ScoredScan,
    Selection,
    evaluate_cases,
    score_scan_masks,
)
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.reference_set import official_reference
from lungdet.io.results import result_from_instances
from lungdet.registry import METRICS
from lungdet.report.evaluation_files import (
    listed_scans,
    write_run,
    write_scan,
)


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """LUNA16's rule on the final score, box precision, and mask agreement.

    With ``out_dir`` each scan is written when it is done, so a stopped test
    can be resumed, and the files of ``write_run`` at the end.

    Args:
        out_dir: Folder for results, None for none.
        candidates: Name of the scored candidate list, None for detection.
        bootstrap: As in ``CaseOptions``, like the following.
        seed: Of the resampling.
        read_out: How the curve is read.
        max_marks: The cap on a scan's marks, None for none.
        strata: A field to split the figures by, None for none.
        lung_filter: Drop detections whose centre lies farther, in mm, outside
            the case's lungs; None, the default, scores all of them, as
            published figures do.

    Raises:
        ConfigError: ``lung_filter`` with ``candidates``, whose list is scored
            whole.
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
        lung_filter: float | None = None,
    ) -> None:
        super().__init__()
        if lung_filter is not None and candidates is not None:
            raise ConfigError(
                'lung_filter: a candidate list is scored whole; give one of '
                'lung_filter and candidates.'
            )
        self.selection = Selection(
            score_thr=None, lung_margin_mm=lung_filter, merge_mm=None
        )
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.options = CaseOptions(
            bootstrap=bootstrap,
            seed=seed,
            read_out=read_out,
            max_marks=max_marks,
            strata=strata,
            candidates=candidates is not None,
        )
        self.caveats: list[str] = []  # set by the runner, for every table
        self._store: CaseStore | None = None

    @property
    def store(self) -> CaseStore:
        """The prepared cases of the data set."""
        if self._store is None:
            self._store = CaseStore(self.dataset_meta['data_root'])
        return self._store

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep the detections and mask scores of each scan."""
        for sample in data_samples:
            scan = self._scored(sample)
            if self.out_dir is not None:
                write_scan(self.out_dir, scan)
            self.results.append(scan)

    def _scored(self, sample: dict[str, Any]) -> ScoredScan:
        uid = sample['series_uid']
        record = self.store.records[uid]
        result = result_from_instances(
            SimpleNamespace(**sample['pred_instances']),
            uid,
            Geometry(record.geometry.shape, np.asarray(sample['affine'])),
            source_geometry=record.source_geometry,
        )
        result.caveats = list(self.caveats)
        if self.selection.lung_margin_mm is not None:
            lungs = self.store.read(uid, 'lungs')
            text = (
                f'detections more than {self.selection.lung_margin_mm:g} mm '
                'outside the lungs were dropped before scoring (lung_filter)'
            )
            result = replace(
                self.selection.apply(result, lungs),
                caveats=[*result.caveats, text],
            )
        has_masks = self.store.has(uid, 'mask')
        labels = self.store.read(uid, 'mask') if has_masks else None
        return ScoredScan(
            result.without_masks(),
            score_scan_masks(record, result, labels),
            dict(sample.get('losses') or {}),
        )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather every scan once, score on rank 0, send the result to all
        ranks.

        An error on rank 0 is raised on every rank, so none waits for it.
        """
        gathered = all_gather_object(list(self.results))
        self.results.clear()
        outcome: list[Any] = [None]
        if is_main_process():
            try:
                scans = [scan for part in gathered for scan in part]
                outcome[0] = self.compute_metrics(scans)
            except Exception as error:
                outcome[0] = error
        broadcast_object_list(outcome)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def compute_metrics(self, results: list[ScoredScan]) -> dict[str, float]:
        """Score the listed scans, print and write the report."""
        scans = listed_scans(
            {scan.result.series_uid: scan for scan in results},
            self.dataset_meta['series_uids'],
            self.out_dir,
        )
        report = evaluate_cases(
            scans,
            self.store.records,
            self.options,
            official=official_reference(),
            num_listed=self.dataset_meta.get('num_listed'),
        )
        say(report.text())
        if self.out_dir is not None:
            write_run(self.out_dir, report, scans)
        return report.metrics()
