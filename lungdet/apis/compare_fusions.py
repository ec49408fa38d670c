"""Box sources and score fusions of one checkpoint, on the same windows.

The boxes of the RPN and of the RoI head are computed once each, and kept with
both scores before NMS. Each fusion then ranks the same boxes and applies NMS.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from terminaltables import AsciiTable

from lungdet.apis.config import load_config
from lungdet.apis.evaluators import case_options, froc_metric
from lungdet.apis.run import test
from lungdet.engine.screen import say
from lungdet.errors import ConfigError, printable
from lungdet.evaluation import (
    CaseOptions,
    Difference,
    EvaluationReport,
    ScoredScan,
    evaluate_cases,
    paired_bootstrap,
)
from lungdet.evaluation.bootstrap import Interval
from lungdet.evaluation.table import counts_line, rate_name, reading_cells
from lungdet.io.atomic import write_text
from lungdet.io.case_store import CaseStore
from lungdet.io.predictions import CasePredictions
from lungdet.io.reference_set import official_reference
from lungdet.models.task_modules import DetectionPostProcessor
from lungdet.models.task_modules.post_processor import (
    BOX_SOURCES,
    NMS,
    SCORE_FUSIONS,
)
from lungdet.ops import grow_boxes
from lungdet.registry import MODELS, TASK_UTILS
from lungdet.report.evaluation_files import StoredRun, read_run
from lungdet.structures import SeriesResult

Choice = tuple[str, str]  # box source, score fusion


@dataclass(frozen=True)
class FusionComparison:
    """Every choice of boxes and scores, on the same scans.

    Attributes:
        configured: The choice of the config.
        reports: Choice -> its report; the configured one first.
        differences: Choice -> that one minus the configured one, paired by
            scans; None without resamples.
    """

    configured: Choice
    reports: Mapping[Choice, EvaluationReport]
    differences: Mapping[Choice, Difference | None]

    def text(self) -> str:
        """A table with a row for each choice."""
        first = self.reports[self.configured]
        rates = map(rate_name, first.result.rates)
        rows = [['boxes', 'score', *rates, 'CPM', '95 %', 'difference']]
        for choice, report in self.reports.items():
            bounds = report.bootstrap
            rows.append(
                [
                    *choice,
                    *reading_cells(report.result),
                    _interval(bounds.cpm) if bounds else '-',
                    _difference(self.differences.get(choice)),
                ]
            )
        return '\n'.join(
            [
                AsciiTable(rows, 'score fusions').table,
                counts_line(first.result, first.num_listed),
                f'difference: of the CPM to {" ".join(self.configured)}, the '
                'choice of the config, with the same resampled scans',
                *(printable(f'caveat: {caveat}') for caveat in first.caveats),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = []
        for (source, fusion), report in self.reports.items():
            paired = self.differences.get((source, fusion))
            bounds = report.bootstrap
            rows.append(
                {
                    'box_source': source,
                    'score_fusion': fusion,
                    'sensitivities': report.result.sensitivities,
                    'cpm': report.result.cpm,
                    'bootstrap': bounds and bounds.to_dict(),
                    'difference': paired and paired.to_dict(),
                }
            )
        first = self.reports[self.configured]
        curve = first.result.curve
        return {
            'configured': list(self.configured),
            'rates': list(first.result.rates),
            'scans': curve.scans,
            'num_listed': first.num_listed,
            'nodules': curve.nodules,
            'rows': rows,
            'caveats': [asdict(caveat) for caveat in first.caveats],
        }


def compare_fusions(
    config: str | Path | Config,
    checkpoint: str | Path,
    *,
    out: str | Path,
    cfg_options: dict[str, Any] | None = None,
) -> FusionComparison:
    """Test a checkpoint with the boxes of either head and every score.

    Writes ``fusions.json`` and ``fusions.txt``; the folders ``rpn`` and
    ``rcnn`` hold all boxes, so a stopped comparison can be continued, and one
    with other NMS rules computes no window again.

    Args:
        config: Path of a config, or a loaded one.
        checkpoint: File, work folder, or ``last_checkpoint``.
        out: Folder for the results.
        cfg_options: Values by dotted key.

    Raises:
        ConfigError: The config merges boxes, or the detector has no scores of
            a RoI head.
    """
    cfg = load_config(config, cfg_options)
    chosen = _chosen(cfg)
    default = TASK_UTILS.build(chosen)
    configured = (default.box_source, default.score_fusion)
    records = CaseStore(cfg.test_dataloader.dataset.data_root).records
    scoring = case_options(cfg)
    border = float(cfg.model.get('box_border', 0))
    reports = {}
    for source in sorted(BOX_SOURCES, key=lambda s: s != configured[0]):
        run = _all_boxes(cfg, checkpoint, Path(out) / source, source)
        for fusion in sorted(SCORE_FUSIONS, key=lambda f: f != configured[1]):
            processor = TASK_UTILS.build(
                {**chosen, 'box_source': source, 'score_fusion': fusion}
            )
            scans = {
                uid: ScoredScan(ranked(scan.result, processor, border))
                for uid, scan in run.scans.items()
            }
            reports[source, fusion] = evaluate_cases(
                scans,
                records,
                scoring,
                official=official_reference(),
                num_listed=run.num_listed,
            )
    comparison = FusionComparison(
        configured, reports, _differences(reports, configured, scoring)
    )
    say(comparison.text())
    write_text(Path(out) / 'fusions.txt', comparison.text() + '\n')
    content = json.dumps(comparison.to_dict(), indent=1)
    write_text(Path(out) / 'fusions.json', content + '\n')
    return comparison


def _chosen(cfg: Config) -> dict[str, Any]:
    """The config's post-processor; it must choose between boxes."""
    chosen = {
        'type': 'DetectionPostProcessor',
        **cfg.model.test_cfg.get('postprocess', {}),
    }
    if chosen.get('merge'):
        raise ConfigError(
            'model.test_cfg.postprocess.merge: it averages boxes, after which '
            'the score of either head is not known; compare with merge=None.'
        )
    detector = MODELS.get(cfg.model.type)
    if cfg.model.test_cfg.get('flips', 1) > 1 and not hasattr(
        detector, 'predict_owned'
    ):
        raise ConfigError(
            f'model.test_cfg.flips: {cfg.model.type} does not average views '
            '(it has no predict_owned), so their boxes are merged; compare '
            'with flips=1.'
        )
    return chosen


def ranked(
    result: SeriesResult, processor: DetectionPostProcessor, border: float = 0
) -> SeriesResult:
    """The detections that a post-processor selects from all boxes of a scan.

    Args:
        result: All boxes, with the scores of both heads.
        processor: Its ``box_source`` has no effect: each detection has one
            box.
        border: Voxels by which the network's boxes are longer than these, as
            ``box_border``; a side that was cut to one voxel counts as
            ``border`` + 1.

    Raises:
        ConfigError: A detection lacks a score.
    """
    given, grid = result.detections, result.geometry
    scores = [(one.rpn_score, one.rcnn_score) for one in given]
    if any(None in pair for pair in scores):
        raise ConfigError(
            f'{result.series_uid}: a box without a score of the RPN or of '
            'the RoI head; the checkpoint was written before the RoI head '
            'started. Test a later one.'
        )
    rpn, rcnn = torch.tensor(scores).reshape(-1, 2).T
    boxes = grow_boxes(_voxel_boxes(result), border)
    fused = processor.fuse(
        InstanceData(bboxes=boxes, scores=rpn),
        InstanceData(bboxes=boxes, scores=rcnn),
    )
    kept = processor.select(fused)
    kept.bboxes = grow_boxes(kept.bboxes, -border) if border else kept.bboxes
    values = {name: kept[name] for name in ('bboxes', 'scores')}
    parts = {name: kept[name] for name in ('rpn_scores', 'rcnn_scores')}
    chosen = CasePredictions.of({**values, **parts}).to_result(
        result.series_uid, grid, source_geometry=result.source_geometry
    )
    return replace(chosen, caveats=[*result.caveats])


def _voxel_boxes(result: SeriesResult) -> torch.Tensor:
    """Edge boxes (K, 6) of detections in the voxels of their grid."""
    centers = np.array([d.center_mm for d in result.detections])
    sizes = np.array([d.size_mm for d in result.detections])
    boxes = result.geometry.box_around(
        centers.reshape(-1, 3), sizes.reshape(-1, 3)
    )
    return torch.from_numpy(boxes).float()


def _all_boxes(
    cfg: Config, checkpoint: str | Path, folder: Path, source: str
) -> StoredRun:
    """Boxes of one head before NMS, of all scans of the test."""
    cfg = copy.deepcopy(cfg)
    test_cfg = cfg.model.test_cfg
    test_cfg.postprocess = {
        'type': 'DetectionPostProcessor',
        'box_source': source,
        'nms': dict.fromkeys(NMS),
        'max_per_scan': None,
    }
    test_cfg.mask = {**test_cfg.get('mask', {}), 'max_per_window': 0}
    cfg.test_evaluator = {**froc_metric(cfg), 'bootstrap': 0}
    say(f'all boxes of {source}')
    test(cfg, checkpoint, out=folder)
    return read_run(folder)


def _differences(
    reports: Mapping[Choice, EvaluationReport],
    configured: Choice,
    options: CaseOptions,
) -> dict[Choice, Difference | None]:
    """Each choice minus the configured one."""
    first = reports[configured].result
    return {
        choice: paired_bootstrap(
            report.result,
            first,
            resamples=options.bootstrap,
            seed=options.seed,
        )
        for choice, report in reports.items()
        if choice != configured
    }


def _interval(bounds: Interval) -> str:
    low, high = bounds
    return f'{low:.3f} to {high:.3f}'


def _difference(paired: Difference | None) -> str:
    if paired is None:
        return '-'
    low, high = paired.cpm_interval
    return f'{paired.cpm:+.3f} ({low:+.3f} to {high:+.3f})'
