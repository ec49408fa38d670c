"""FROC and mask overlap of whole scans; adapter to ``lungdet.evaluation``."""

from __future__ import annotations

import json
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
from mmengine.logging import MMLogger

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    FROCResult,
    bootstrap_cpm,
    dice_iou,
    evaluate_froc,
    froc_table,
)
from lungdet.geometry import Geometry
from lungdet.io.atomic import write_text
from lungdet.io.case_store import CaseRecord, CaseStore
from lungdet.io.luna16 import as_arrays, write_submission
from lungdet.io.results import result_from_instances, result_to_dict
from lungdet.registry import METRICS
from lungdet.structures import Annotation, SeriesResult

SCORES = ('score', 'rpn_score', 'rcnn_score')


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """LUNA16's rule on the final score, and Dice and IoU of the masks.

    One record a scan. With ``out_dir`` each record is written at once, so a
    test that was killed continues, and the end writes submission.csv,
    froc.json, froc.png and detections.json.

    Args:
        out_dir: Folder for results, None for none.
        bootstrap: Draws of the 95 % interval, 0 for none.
    """

    default_prefix = 'froc'

    def __init__(
        self, out_dir: str | Path | None = None, *, bootstrap: int = 1000
    ) -> None:
        super().__init__()
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.bootstrap = bootstrap
        self.store: CaseStore | None = None
        self.notes: list[str] = []  # the runner's, for every table

    def _store(self) -> CaseStore:
        if self.store is None:
            self.store = CaseStore(self.dataset_meta['data_root'])
        return self.store

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Turn predictions into records, one a scan."""
        for sample in data_samples:
            uid = sample['series_uid']
            record = self._store().records[uid]
            result = result_from_instances(
                SimpleNamespace(**sample['pred_instances']),
                uid,
                Geometry(record.geometry.shape, np.asarray(sample['affine'])),
            )
            row = result_to_dict(result)
            row['masks'] = self._mask_rows(record, result)
            row['notes'] = self.notes
            if self.out_dir is not None:
                write_text(
                    self.out_dir / 'scans' / f'{uid}.json', json.dumps(row)
                )
            self.results.append(row)

    def _mask_rows(
        self, record: CaseRecord, result: SeriesResult
    ) -> list[dict]:
        """Dice and IoU of each reference nodule that has a mask.

        A nodule is compared with the best mark that hits it; a nodule
        without such a mark, or whose mark has no mask, counts 0.
        """
        rows: list[dict] = []
        store = self._store()
        if not store.has(record.series_uid, 'mask'):
            return rows
        truth = store.read(record.series_uid, 'mask')
        for nodule in record.nodules:
            if not nodule.has_mask:
                continue
            hits = [
                f
                for f in result.findings
                if np.linalg.norm(np.subtract(f.center_mm, nodule.center_mm))
                < nodule.diameter_mm / 2
            ]
            dice, iou = 0.0, 0.0
            if hits and hits[0].mask is not None:
                dice, iou = _overlap(truth == nodule.id, hits[0])
            rows.append(
                {
                    'nodule': nodule.id,
                    'num_readers': nodule.num_readers,
                    'detected': bool(hits),
                    'dice': dice,
                    'iou': iou,
                }
            )
        return rows

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather every scan once, score on rank 0, tell all ranks.

        An error on rank 0 is raised on every rank, so none waits for it.
        """
        gathered = all_gather_object(
            {r['series_uid']: r for r in self.results}
        )
        self.results.clear()
        outcome: list[Any] = [None]
        if is_main_process():
            try:
                rows = {uid: r for part in gathered for uid, r in part.items()}
                outcome[0] = self._score(rows)
            except Exception as error:
                outcome[0] = error
        broadcast_object_list(outcome)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def compute_metrics(self, results: list) -> dict:
        """Required by the base class; ``evaluate`` does the work."""
        return self._score({row['series_uid']: row for row in results})

    def _score(self, rows: dict[str, dict]) -> dict[str, float]:
        uids = list(self.dataset_meta['series_uids'])
        if self.out_dir is not None:
            for uid in set(uids) - set(rows):
                path = self.out_dir / 'scans' / f'{uid}.json'
                if path.is_file():
                    rows[uid] = json.loads(path.read_text())
        missing = sorted(set(uids) - set(rows))
        if missing or set(rows) - set(uids):
            raise ConfigError(
                f'evaluation: {len(rows)} scans were tested, {len(uids)} are '
                f'listed; missing: {missing[:3]}. Run the test again, it '
                'continues where it stopped.'
            )
        results = {name: self._froc(rows, uids, name) for name in SCORES}
        interval = bootstrap_cpm(
            results['score'], uids, samples=self.bootstrap
        )
        text = froc_table(
            {
                'fused': results['score'],
                'rpn': results['rpn_score'],
                'rcnn': results['rcnn_score'],
            },
            listed=len(uids),
            intervals={'fused': interval},
        )
        masks = _mask_summary([m for uid in uids for m in rows[uid]['masks']])
        text = '\n'.join([text, *_notes(rows)])
        lines = [f'{k}: {v:.3f} ({n} nodules)' for k, (v, n) in masks.items()]
        MMLogger.get_current_instance().info('\n'.join(['', text, *lines]))
        if self.out_dir is not None:
            self._write(rows, uids, results['score'], interval, masks, text)
        metrics = {'froc/cpm': results['score'].cpm or 0.0}
        for rate, value in zip(
            results['score'].rates, results['score'].sensitivities or []
        ):
            metrics[f'froc/sens@{rate:g}'] = value
        return metrics | {f'mask/{k}': v for k, (v, _) in masks.items()}

    def _froc(
        self, rows: dict[str, dict], uids: list[str], score: str
    ) -> FROCResult:
        records = self._store().records
        marks = {}
        for uid in uids:
            found = [f for f in rows[uid]['findings'] if f[score] is not None]
            centers = np.array([f['center_world_xyz'] for f in found])
            marks[uid] = (
                centers.reshape(-1, 3),
                np.array([f[score] for f in found]),
            )
        nodules = {
            uid: as_arrays(
                [
                    Annotation(n.center_mm, n.diameter_mm)
                    for n in records[uid].nodules
                ]
            )
            for uid in uids
        }
        excluded = {uid: as_arrays(records[uid].excluded) for uid in uids}
        return evaluate_froc(nodules, excluded, marks, uids)

    def _write(
        self,
        rows: dict[str, dict],
        uids: list[str],
        result: FROCResult,
        interval: tuple[float, float] | None,
        masks: dict[str, tuple[float, int]],
        text: str,
    ) -> None:
        from lungdet.report.froc_figure import froc_figure

        out = self.out_dir
        assert out is not None
        write_submission(
            out / 'submission.csv',
            [
                (uid, *f['center_world_xyz'], f['score'])
                for uid in uids
                for f in rows[uid]['findings']
            ],
        )
        content = result.to_dict()
        content['cpm_interval'] = interval
        content['notes'] = _notes(rows)
        content['masks'] = {
            k: {'mean': v, 'nodules': n} for k, (v, n) in masks.items()
        }
        write_text(out / 'froc.json', json.dumps(content, indent=1))
        write_text(out / 'table.txt', text + '\n')
        detections = [
            {k: v for k, v in rows[uid].items() if k != 'masks'}
            for uid in uids
        ]
        write_text(out / 'detections.json', json.dumps(detections))
        froc_figure({'fused': result}).savefig(out / 'froc.png', dpi=150)


def _notes(rows: dict[str, dict]) -> list[str]:
    """What a table of these scans must say."""
    return sorted({n for row in rows.values() for n in row.get('notes', [])})


def _overlap(truth: np.ndarray, finding: Any) -> tuple[float, float]:
    predicted = np.zeros(truth.shape, dtype=bool)
    z1, y1, x1, z2, y2, x2 = finding.mask_box
    predicted[z1:z2, y1:y2, x1:x2] = finding.mask
    return dice_iou(predicted, truth)


def _mask_summary(rows: list[dict]) -> dict[str, tuple[float, int]]:
    """Mean Dice and IoU and the number of nodules behind each."""
    groups = {
        'detected': [r for r in rows if r['detected']],
        'all': rows,
        'four_readers': [
            r for r in rows if r['detected'] and r['num_readers'] == 4
        ],
    }
    return {
        f'{measure}_{name}': (
            float(np.mean([r[measure] for r in group])),
            len(group),
        )
        for name, group in groups.items()
        if group
        for measure in ('dice', 'iou')
    }
