"""Results of tested scans, one plain row each, and the figures of many.

A row holds what ``detections.json`` shows of a scan, and the agreement of
its masks. Rows of several folds are scored together as if tested at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    MAX_MARKS,
    AveragePrecision,
    Bootstrap,
    CandidateSummary,
    Caveat,
    FROCResult,
    average_precision,
    bootstrap_froc,
    detection_scores,
    diameter_labels,
    dice_iou,
    evaluate_froc,
    froc_table,
    mask_table,
    reference_box_scores,
    scan_score,
    strata_by_nodule,
    strata_by_scan,
    summarise_candidates,
)
from lungdet.evaluation.matching import Points
from lungdet.geometry import Geometry
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.luna16 import as_arrays, write_submission
from lungdet.io.reference_set import official_reference
from lungdet.io.results import result_to_dict
from lungdet.structures import Annotation, CaseRecord, Detection, SeriesResult

SCORES = {'fused': 'score', 'rpn': 'rpn_score', 'rcnn': 'rcnn_score'}
TESTED_RUN = 'tested-run'  # name of the caveats that a test gives its scans
NOT_SHOWN = ('masks', 'scan_mask', 'losses')
MEASURES = ('dice', 'iou', 'surface_mm', 'surface95_mm')

Row = dict[str, Any]
Rows = Mapping[str, Row]
MaskSummary = dict[str, dict[str, tuple[float, int]]]


@dataclass(frozen=True)
class ScoreOptions:
    """How rows are scored.

    Attributes:
        bootstrap: Resamples for the 95 % intervals, 0 for none.
        seed: Of the resampling.
        read_out: How the curve is read, a name of ``READ_OUTS``.
        max_marks: Cap a scan, None for none.
        strata: ``'diameter'``, or a field of the prepared nodules or scans
            such as ``'num_readers'`` or ``'subset'``.
        candidates: The marks are given candidates, scored.
    """

    bootstrap: int = 1000
    seed: int = 0
    read_out: str = 'interp'
    max_marks: int | None = MAX_MARKS
    strata: str | None = None
    candidates: bool = False


@dataclass(frozen=True)
class RowScores:
    """Figures of tested scans.

    Attributes:
        results: ``'fused'`` and, where known, ``'rpn'`` and ``'rcnn'``.
        bounds: Intervals of ``'fused'``.
        masks: Sense -> measure -> mean and how many it is the mean of.
        precision: Average precision of the boxes.
        strata: Label -> result of ``'fused'``.
        candidates: Of given candidates.
        losses: The training's losses on these scans, and their sum.
        caveats: What a reader of the figures must know.
        reference: ``'official'`` where the prepared findings are LUNA16's,
            else ``'prepared'``.
    """

    results: dict[str, FROCResult]
    bounds: Bootstrap | None
    masks: MaskSummary
    precision: AveragePrecision
    strata: dict[str, FROCResult] = field(default_factory=dict)
    candidates: CandidateSummary | None = None
    losses: dict[str, float] = field(default_factory=dict)
    caveats: tuple[Caveat, ...] = ()
    reference: str = 'prepared'

    def text(self, listed: int) -> str:
        """Tables for people."""
        fused = self.results['fused']
        lines = [
            f'reference: {self.reference}',
            froc_table(
                self.results, listed=listed, bootstraps={'fused': self.bounds}
            ),
        ]
        if self.strata:
            lines.append(
                froc_table({'all': fused} | self.strata, listed=listed)
            )
        if self.candidates is not None:
            found = self.candidates
            lines.append(
                f'{found.reached} of {found.nodules} nodules have one of '
                f'{found.candidates} candidates'
            )
        if self.precision.values is not None:
            lines.append(
                f'AP@0.1 {self.precision.values[0]:.3f}, mAP@0.1:0.5 '
                f'{self.precision.mean:.3f} (boxes, by IoU)'
            )
        if self.masks:
            lines.append(mask_table(self.masks))
        lines += [f'caveat: {caveat}' for caveat in self.caveats]
        return '\n'.join(lines)

    def metrics(self) -> dict[str, float]:
        """Figures by name, as mmengine's runner takes them."""
        fused = self.results['fused']
        values = {'froc/cpm': fused.cpm or 0.0}
        for rate, value in zip(fused.rates, fused.sensitivities or []):
            values[f'froc/sens@{rate:g}'] = value
        if self.precision.values is not None:
            values['ap/ap@0.1'] = self.precision.values[0]
            values['ap/map@0.1:0.5'] = float(np.mean(self.precision.values))
        for sense, measures in self.masks.items():
            for measure, (mean, _) in measures.items():
                values[f'mask/{measure}_{sense}'] = mean
        return values | self.losses

    def to_dict(self) -> dict:
        """The content of froc.json."""
        return {
            'reference': self.reference,
            **self.results['fused'].to_dict(),
            'cpm_interval': self.bounds and list(self.bounds.cpm),
            'bootstrap': self.bounds and self.bounds.to_dict(),
            'masks': {
                f'{measure}_{sense}': {'mean': mean, 'number': number}
                for sense, measures in self.masks.items()
                for measure, (mean, number) in measures.items()
            },
            'average_precision': asdict(self.precision),
            'strata': {k: r.to_dict() for k, r in self.strata.items()},
            'candidates': self.candidates and asdict(self.candidates),
            'caveats': [vars(caveat) for caveat in self.caveats],
        }


def scan_row(
    record: CaseRecord, result: SeriesResult, labels: np.ndarray | None
) -> Row:
    """Everything that is kept of a tested scan.

    Args:
        record: The prepared case.
        result: What was found.
        labels: Nodule ids (z, y, x), None without masks.
    """
    row = result_to_dict(result, record.source_geometry)
    row['masks'], row['scan_mask'] = [], None
    masked = [n for n in record.nodules if n.has_mask]
    if labels is None or not masked:
        return row
    masks = [
        (f.mask, np.array(f.mask_box))
        for f in result.detections
        if f.mask is not None
    ]
    spacing = record.geometry.spacing
    cubes = {n.id: _whole_box(n.box, labels.shape) for n in masked}
    tight = {n.id: _whole_box(n.mask_box, labels.shape) for n in masked}
    in_boxes = reference_box_scores(labels, cubes, masks, spacing)
    matched = detection_scores(labels, tight, masks, spacing)
    for nodule in masked:
        hits = _hits(nodule, result.detections)
        dice, iou = _best_overlap(labels == nodule.id, hits)
        row['masks'].append(
            {
                'nodule': nodule.id,
                'num_readers': nodule.num_readers,
                'detected': bool(hits),
                'dice': dice,
                'iou': iou,
                'box': asdict(in_boxes[nodule.id]),
                'matched': asdict(matched[nodule.id])
                if nodule.id in matched
                else None,
            }
        )
    if len(masked) == len(record.nodules):
        row['scan_mask'] = asdict(scan_score(labels, masks, spacing))
    return row


def score_rows(
    rows: Rows, records: Mapping[str, CaseRecord], options: ScoreOptions
) -> RowScores:
    """Figures of tested scans, in the order of ``rows``.

    Args:
        rows: Series uid -> row.
        records: Prepared cases; others than those of ``rows`` are not looked
            at.
        options: How to score.
    """
    known = {
        name: key
        for name, key in SCORES.items()
        if name == 'fused'
        or any(
            f[key] is not None for r in rows.values() for f in r['detections']
        )
    }
    results = {
        name: _froc(rows, records, key, options.max_marks, options.read_out)
        for name, key in known.items()
    }
    summary = None
    if options.candidates:
        uncapped = _froc(rows, records, 'score', None, options.read_out)
        summary = summarise_candidates(uncapped)
    return RowScores(
        results=results,
        bounds=bootstrap_froc(
            results['fused'], resamples=options.bootstrap, seed=options.seed
        ),
        masks=_mask_summary(rows.values()),
        precision=_precision(rows, records),
        strata=_strata(results['fused'], records, options.strata),
        candidates=summary,
        losses=_mean_losses([row.get('losses') for row in rows.values()]),
        caveats=(*results['fused'].caveats, *_caveats(rows.values())),
        reference=_reference([records[uid] for uid in rows]),
    )


def write_scores(
    out: str | Path, rows: Rows, scores: RowScores, *, listed: int
) -> None:
    """Write submission.csv, detections.json, froc.json, table and figure.

    Args:
        out: Folder.
        rows: What was scored.
        scores: Its figures.
        listed: Scans that were listed for evaluation.
    """
    from lungdet.report.froc_figure import froc_figure

    out = Path(out)
    write_submission(
        out / 'submission.csv',
        [
            (uid, *f['center_world_xyz'], f['score'])
            for uid, row in rows.items()
            for f in row['detections']
        ],
    )
    shown = [
        {key: value for key, value in row.items() if key not in NOT_SHOWN}
        for row in rows.values()
    ]
    write_text(out / 'detections.json', json.dumps(shown))
    write_text(out / 'froc.json', json.dumps(scores.to_dict(), indent=1))
    write_text(out / 'table.txt', scores.text(listed) + '\n')
    figure = froc_figure(
        {'fused': scores.results['fused']},
        {'fused': scores.bounds},
        caveats=[str(caveat) for caveat in scores.caveats],
    )
    with atomic_path(out / 'froc.png') as aside:
        figure.savefig(aside, dpi=150)


def _reference(records: Iterable[CaseRecord]) -> str:
    """Whether the findings of these cases are LUNA16's, row for row."""
    official = official_reference()
    listed = set(official.seriesuids)
    for record in records:
        uid = record.series_uid
        nodules = [(n.center_mm, n.diameter_mm) for n in record.nodules]
        if (
            uid not in listed
            or nodules != _rows_of(official.annotations.get(uid, ()))
            or _rows_of(record.excluded)
            != _rows_of(official.excluded.get(uid, ()))
        ):
            return 'prepared'
    return 'official'


def _rows_of(findings: Iterable[Annotation]) -> list[tuple]:
    return [(f.center_mm, f.diameter_mm) for f in findings]


def _whole_box(box: Sequence[float] | None, shape: tuple) -> np.ndarray:
    """Smallest integer edge box (6,) around a box, inside the case."""
    assert box is not None
    low = np.clip(np.floor(box[:3]), 0, shape)
    high = np.clip(np.ceil(box[3:]), 0, shape)
    return np.concatenate([low, high]).astype(int)


def _hits(nodule: Any, detections: Sequence[Detection]) -> list[Detection]:
    """Detections inside a nodule's radius, best first."""
    return [
        f
        for f in detections
        if np.linalg.norm(np.subtract(f.center_mm, nodule.center_mm))
        < nodule.diameter_mm / 2
    ]


def _best_overlap(
    truth: np.ndarray, hits: Sequence[Detection]
) -> tuple[float, float]:
    """Dice and IoU of the best hit's mask; 0 without one."""
    if not hits or hits[0].mask is None or hits[0].mask_box is None:
        return 0.0, 0.0
    predicted = np.zeros(truth.shape, dtype=bool)
    z1, y1, x1, z2, y2, x2 = hits[0].mask_box
    predicted[z1:z2, y1:y2, x1:x2] = hits[0].mask
    return dice_iou(predicted, truth)


def _froc(
    rows: Rows,
    records: Mapping[str, CaseRecord],
    score: str,
    max_marks: int | None,
    read_out: str,
) -> FROCResult:
    nodules = {
        uid: as_arrays(
            [
                Annotation(n.center_mm, n.diameter_mm)
                for n in records[uid].nodules
            ]
        )
        for uid in rows
    }
    return evaluate_froc(
        nodules,
        {uid: as_arrays(records[uid].excluded) for uid in rows},
        {uid: _marks(row, score) for uid, row in rows.items()},
        list(rows),
        max_marks=max_marks,
        read_out=read_out,
    )


def _marks(row: Row, score: str) -> Points:
    found = [f for f in row['detections'] if f[score] is not None]
    centers = np.array([f['center_world_xyz'] for f in found])
    return centers.reshape(-1, 3), np.array([f[score] for f in found])


def _precision(
    rows: Rows, records: Mapping[str, CaseRecord]
) -> AveragePrecision:
    truth, found = {}, {}
    for uid, row in rows.items():
        truth[uid] = np.array([n.box for n in records[uid].nodules])
        truth[uid] = truth[uid].reshape(-1, 6)
        grid = Geometry.from_dict(row['case_geometry'])
        boxes = [_box_of(f, grid) for f in row['detections']]
        scores = [f['score'] for f in row['detections']]
        found[uid] = np.array(boxes).reshape(-1, 6), np.array(scores)
    return average_precision(truth, found, list(rows))


def _box_of(detection: dict, grid: Geometry) -> np.ndarray:
    """Edge box (6,) of a row's detection; a point where it has no size."""
    (center,) = grid.to_index(np.array([detection['center_world_xyz']])) + 0.5
    half = np.array(detection['size_mm_zyx'] or (0, 0, 0)) / grid.spacing / 2
    return np.concatenate([center - half, center + half])


def _strata(
    result: FROCResult, records: Mapping[str, CaseRecord], column: str | None
) -> dict[str, FROCResult]:
    if column is None:
        return {}
    listed = {uid: records[uid] for uid in result.seriesuids}
    if column == 'diameter':
        diameters = {
            uid: np.array([n.diameter_mm for n in record.nodules])
            for uid, record in listed.items()
        }
        return strata_by_nodule(result, diameter_labels(diameters))
    of_scan = {uid: vars(record) for uid, record in listed.items()}
    if all(column in values for values in of_scan.values()):
        return strata_by_scan(
            result, {uid: str(v[column]) for uid, v in of_scan.items()}
        )
    of_nodules = {
        uid: [vars(nodule) for nodule in record.nodules]
        for uid, record in listed.items()
    }
    if any(column not in n for found in of_nodules.values() for n in found):
        raise ConfigError(
            f'strata: {column!r} is neither "diameter" nor a field of the '
            'prepared nodules or scans, such as "num_readers" or "subset".'
        )
    labels = {u: [str(n[column]) for n in v] for u, v in of_nodules.items()}
    return strata_by_nodule(result, labels)


def _mask_summary(rows: Iterable[Row]) -> MaskSummary:
    """Mean of every measure in every sense, and its number of values.

    ``'detected'`` and ``'all'`` take the best mark that hits; ``'box'``,
    ``'matched'`` and ``'scan'`` are the three senses of ``mask_metrics``.
    """
    rows = list(rows)
    nodules = [nodule for row in rows for nodule in row['masks']]
    groups = {
        'detected': [n for n in nodules if n['detected']],
        'all': nodules,
        'four_readers': [
            n for n in nodules if n['detected'] and n['num_readers'] == 4
        ],
        'box': [n['box'] for n in nodules],
        'matched': [n['matched'] for n in nodules if n['matched']],
        'scan': [row['scan_mask'] for row in rows if row['scan_mask']],
    }
    return {
        sense: {
            measure: (float(np.mean(values)), len(values))
            for measure in MEASURES
            for values in [_known(group, measure)]
            if values
        }
        for sense, group in groups.items()
        if group
    }


def _caveats(rows: Iterable[Row]) -> list[Caveat]:
    """What the tested run says of its scans, such as that they were seen."""
    texts = Counter(text for row in rows for text in row['caveats'])
    return [Caveat(TESTED_RUN, texts[text], text) for text in sorted(texts)]


def _mean_losses(rows: Sequence[dict[str, float] | None]) -> dict[str, float]:
    """Mean of each loss over the scans that have it, and their sum."""
    kept = [row for row in rows if row]
    if not kept:
        return {}
    means = {
        f'val/{name}': float(np.mean([row[name] for row in kept]))
        for name in kept[0]
    }
    return means | {'val/loss': sum(means.values())}


def _known(group: Sequence[dict], measure: str) -> list[float]:
    return [m[measure] for m in group if m.get(measure) is not None]
