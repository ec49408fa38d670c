"""A tested run: each scan is scored when it is done, then all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lungdet.evaluation import (
    CaseOptions,
    EvaluationReport,
    ScoredScan,
    evaluate_cases,
    score_scan_masks,
)
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.predictions import CasePredictions
from lungdet.io.reference_set import official_reference
from lungdet.report.evaluation_files import (
    listed_scans,
    write_run,
    write_scan,
)
from lungdet.structures import SeriesResult


@dataclass(frozen=True)
class RunScoring:
    """How the scans of a run are scored, and where the results go.

    Attributes:
        store: The prepared cases.
        options: Options of the report.
        out_dir: Folder of the results, None for none. Each scan is written
            there as soon as it is done, so a stopped test can be resumed.
        caveats: Caveats of all scans.
    """

    store: CaseStore
    options: CaseOptions = CaseOptions()
    out_dir: Path | None = None
    caveats: Sequence[str] = ()

    def score(
        self,
        series_uid: str,
        predictions: CasePredictions,
        affine: np.ndarray,
        losses: Mapping[str, float],
    ) -> ScoredScan:
        """Score one scan, and write it.

        Args:
            series_uid: Series uid of a prepared case.
            predictions: In the case's voxels.
            affine: (4, 4) of these voxels.
            losses: The training's losses on the scan, by name.
        """
        record = self.store.records[series_uid]
        result = predictions.to_result(
            series_uid,
            Geometry(record.geometry.shape, np.asarray(affine)),
            source_geometry=record.source_geometry,
        )
        result = replace(result, caveats=[*self.caveats, *_filtered(result)])
        has_masks = self.store.has(series_uid, 'mask')
        labels = self.store.read(series_uid, 'mask') if has_masks else None
        scan = ScoredScan(
            result.without_masks(),
            score_scan_masks(record, result, labels),
            dict(losses),
        )
        if self.out_dir is not None:
            write_scan(self.out_dir, scan)
        return scan

    def report(
        self,
        scans: Sequence[ScoredScan],
        listed: Sequence[str],
        num_listed: int | None = None,
    ) -> EvaluationReport:
        """Score all listed scans together, and write the run's files.

        Args:
            scans: Scans of this run; those of an earlier one are read from
                ``out_dir``.
            listed: Series uids of the test, in order.
            num_listed: Scans that were asked for, if some are not prepared.

        Raises:
            ConfigError: As ``listed_scans`` and ``evaluate_cases``.
        """
        tested = listed_scans(
            {scan.result.series_uid: scan for scan in scans},
            listed,
            self.out_dir,
        )
        report = evaluate_cases(
            tested,
            self.store.records,
            self.options,
            official=official_reference(),
            num_listed=num_listed,
        )
        if self.out_dir is not None:
            write_run(self.out_dir, report, tested)
        return report


def _filtered(result: SeriesResult) -> list[str]:
    """Says that the lung rule was on: the same text for all scans, without
    counts."""
    return [
        f'boxes more than {dropped.limit:g} mm outside the lungs were dropped '
        'before NMS (lung_margin_mm)'
        for dropped in result.dropped
    ]
