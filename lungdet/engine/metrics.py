"""FROC and mask overlap of whole scans; mmengine's side of it."""

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

from lungdet.engine.scan_rows import (
    Row,
    ScoreOptions,
    scan_row,
    score_rows,
    write_scores,
)
from lungdet.errors import ConfigError
from lungdet.evaluation import MAX_MARKS
from lungdet.geometry import Geometry
from lungdet.io.atomic import write_text
from lungdet.io.case_store import CaseStore
from lungdet.io.results import result_from_instances
from lungdet.registry import METRICS


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """LUNA16's rule on the final score, box precision, and mask agreement.

    One record a scan. With ``out_dir`` each record is written at once, so a
    test that was killed continues, and the end writes submission.csv,
    froc.json, froc.png and detections.json.

    Args:
        out_dir: Folder for results, None for none.
        candidates: Name of the candidate list that was scored, None if the
            detector looked for itself.
        bootstrap: As in ``ScoreOptions``, and so the rest.
        seed: Of the resampling.
        read_out: How the curve is read.
        max_marks: Cap a scan.
        strata: A field to split the figures by.
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
        self.candidates = candidates
        self.options = ScoreOptions(
            bootstrap=bootstrap,
            seed=seed,
            read_out=read_out,
            max_marks=max_marks,
            strata=strata,
            candidates=candidates is not None,
        )
        self.store: CaseStore | None = None
        self.caveats: list[str] = []  # the runner's, for every table

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
            result.caveats = list(self.caveats)
            labels = None
            if self._store().has(uid, 'mask'):
                labels = self._store().read(uid, 'mask')
            row = scan_row(record, result, labels)
            row['losses'] = dict(sample.get('losses') or {})
            if self.out_dir is not None:
                write_text(
                    self.out_dir / 'scans' / f'{uid}.json', json.dumps(row)
                )
            self.results.append(row)

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

    def _score(self, found: dict[str, Row]) -> dict[str, float]:
        rows = self._listed(found)
        listed = self.dataset_meta.get('num_listed', len(rows))
        scores = score_rows(rows, self._store().records, self.options)
        MMLogger.get_current_instance().info('\n' + scores.text(listed))
        if self.out_dir is not None:
            write_scores(self.out_dir, rows, scores, listed=listed)
        return scores.metrics()

    def _listed(self, found: dict[str, Row]) -> dict[str, Row]:
        """Rows of all listed scans, those of an earlier run read back.

        Raises:
            ConfigError: A scan is missing.
        """
        uids = list(self.dataset_meta['series_uids'])
        if self.out_dir is not None:
            for uid in set(uids) - set(found):
                path = self.out_dir / 'scans' / f'{uid}.json'
                if path.is_file():
                    found[uid] = json.loads(path.read_text())
        missing = sorted(set(uids) - set(found))
        if missing or set(found) - set(uids):
            raise ConfigError(
                f'evaluation: {len(found)} scans were tested, {len(uids)} are '
                f'listed; missing: {missing[:3]}. Run the test again, it '
                'continues where it stopped.'
            )
        return {uid: found[uid] for uid in uids}
