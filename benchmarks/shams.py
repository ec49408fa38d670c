"""A trained detector's scores at shams, and at untouched sites beside them.

python -m benchmarks.shams CHECKPOINT STORE [--per-scan 30] [--seed 0]

Shams are inserted into each scan of STORE that CHECKPOINT was not trained on,
and for each of them, a free site of the same kind and radius in the same scan
is left untouched. A detector that has learnt traces of the insertion scores
shams higher: the area under the ROC curve between the two is then above one
half.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import mannwhitneyu
from terminaltables import AsciiTable

from benchmarks.roc import area
from lungdet.errors import ConfigError
from lungdet.insertion.draw import DrawOptions, draw_sham
from lungdet.insertion.insert import insert
from lungdet.insertion.sites import Room
from lungdet.insertion.source import ParametricSource
from lungdet.io.case_store import CaseStore
from lungdet.structures import CaseRecord

if TYPE_CHECKING:
    from lungdet.models.detectors import CasePredictor

RESAMPLES = 2000
TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Pair:
    """A sham, and an untouched site like it.

    Attributes:
        scan: Series uid.
        site: Kind of both sites.
        radius_mm: Radius of both in mm.
        sham: Index (z, y, x) of the sham.
        untouched: Index of the other.
    """

    scan: str
    site: str
    radius_mm: float
    sham: np.ndarray
    untouched: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Scores at shams against those at untouched sites.

    Attributes:
        pairs: Number of pairs.
        sham: Mean score at shams.
        untouched: Mean score at the others.
        auc: Chance that a sham scores higher, ties count one half.
        low: Lower bound, 95 %; pairs are resampled.
        high: Upper bound.
        p: P value of the two-sided rank test (Mann and Whitney 1947).
    """

    pairs: int
    sham: float
    untouched: float
    auc: float
    low: float
    high: float
    p: float

    @property
    def passes(self) -> bool:
        """Whether shams score like the untouched lung: .5 is within."""
        return self.low <= 0.5 <= self.high


def compare(sham: np.ndarray, untouched: np.ndarray) -> Comparison:
    """Compare the scores (N,) of both sites of N pairs, N > 0."""
    rng = np.random.default_rng(0)
    count = len(sham)
    areas = []
    for _ in range(RESAMPLES):
        rows = rng.integers(count, size=count)
        areas.append(area(sham[rows], untouched[rows]))
    low, high = np.percentile(areas, TAILS)
    return Comparison(
        count,
        float(sham.mean()),
        float(untouched.mean()),
        area(sham, untouched),
        float(low),
        float(high),
        float(mannwhitneyu(sham, untouched).pvalue),
    )


def with_shams(
    store: CaseStore, record: CaseRecord, count: int, seed: int
) -> tuple[np.ndarray, list[Pair]]:
    """A scan's HU with shams in it, and up to ``count`` pairs of sites."""
    uid = record.series_uid
    rng = np.random.default_rng([seed, *uid.encode()])
    room = Room.of_case(store, record)
    shams, pairs = [], []
    for _ in range(count):
        sham = draw_sham(rng, room, DrawOptions())
        if sham is None:
            continue
        other = room.find(rng, sham.site, sham.size_mm)
        if other is None:
            continue
        room.occupy(other.center, sham.size_mm)
        shams.append(sham)
        centers = np.array(sham.center), other.center
        pairs.append(Pair(uid, sham.site, sham.size_mm, *centers))
    image, _ = insert(
        room.image,
        shams,
        ParametricSource(),  # of no nodule, as all are shams
        record.geometry,
        record.source_geometry,
    )
    return np.rint(image).astype(np.int16), pairs


def highest_scores(
    centers: np.ndarray,
    radii: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    """Highest score of the boxes centred at each site, 0 without one.

    Args:
        centers: Indices (N, 3) of the sites.
        radii: (N,) voxels around them.
        boxes: Edge boxes (K, 6).
        scores: (K,).
    """
    middle = (boxes[:, :3] + boxes[:, 3:]) / 2 - 0.5
    away = np.linalg.norm(centers[:, None] - middle, axis=-1)
    at_site = np.where(away <= radii[:, None], scores, 0)
    return at_site.max(1, initial=0)


def unseen_scans(store: CaseStore, checkpoint: Path) -> list[CaseRecord]:
    """The scans of a store that a checkpoint was not trained on.

    Raises:
        ConfigError: There is none.
    """
    from lungdet.engine.checkpoint import CheckpointMeta, read_checkpoint

    scans = CheckpointMeta.of(read_checkpoint(checkpoint), checkpoint).scans
    trained = {*scans.series, *scans.patients}
    unseen = [
        record
        for record in store.records.values()
        if not trained & record.names
    ]
    if not unseen:
        raise ConfigError(
            f'{checkpoint}: was trained on every scan of {store.root}; give '
            'cases that were held out.'
        )
    return unseen


def predictor_of_all_boxes(checkpoint: Path) -> CasePredictor:
    """A checkpoint's predictor, without NMS and cap."""
    from lungdet.engine.detector import load_detector
    from lungdet.models.task_modules import DetectionPostProcessor
    from lungdet.models.task_modules.post_processor import NMS

    predictor = load_detector(checkpoint).model.case_predictor()
    chosen = predictor.post_processor
    predictor.post_processor = DetectionPostProcessor(
        chosen.box_source,
        chosen.score_fusion,
        nms=dict.fromkeys(NMS),
        max_per_scan=None,
    )
    return predictor


def scored_pairs(
    checkpoint: Path, store: CaseStore, count: int, seed: int
) -> tuple[list[Pair], np.ndarray]:
    """Pairs of all unseen scans, and scores (N, 2) at sham and untouched."""
    import torch

    predictor = predictor_of_all_boxes(checkpoint)
    pairs: list[Pair] = []
    scores = [np.zeros((0, 2))]
    for record in unseen_scans(store, checkpoint):
        image, drawn = with_shams(store, record, count, seed)
        detections = predictor.predict(torch.from_numpy(image)[None])
        radii = np.array([p.radius_mm for p in drawn]) / record.spacing_mm
        boxes = detections.bboxes.numpy()
        at = [
            highest_scores(
                np.array(centers).reshape(-1, 3),
                radii,
                boxes,
                detections.scores.numpy(),
            )
            for centers in (
                [p.sham for p in drawn],
                [p.untouched for p in drawn],
            )
        ]
        pairs += drawn
        scores.append(np.stack(at, axis=1))
        print(f'{record.series_uid}: {len(drawn)} shams', flush=True)
    return pairs, np.concatenate(scores)


def table(pairs: Sequence[Pair], scores: np.ndarray) -> str:
    """All pairs, and those of each kind of site."""
    sites = np.array([pair.site for pair in pairs])
    rows = [['site', 'pairs', 'sham', 'untouched', 'AUC', '95 %', 'p', '']]
    for site in ('all', *sorted(set(sites))):
        part = scores[(sites == site) | (site == 'all')]
        one = compare(*part.T)
        rows.append(
            [
                site,
                str(one.pairs),
                f'{one.sham:.3f}',
                f'{one.untouched:.3f}',
                f'{one.auc:.3f}',
                f'{one.low:.3f} to {one.high:.3f}',
                f'{one.p:.3f}',
                'alike' if one.passes else 'told apart',
            ]
        )
    scans = len({pair.scan for pair in pairs})
    return AsciiTable(rows, f'mean scores, {scans} scans').table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('store', type=Path)
    parser.add_argument('--per-scan', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from lungdet.engine.checkpoint import resolve_checkpoint

    file = resolve_checkpoint(args.checkpoint)
    pairs, scores = scored_pairs(
        file, CaseStore(args.store), args.per_scan, args.seed
    )
    print(table(pairs, scores))


if __name__ == '__main__':
    main()
