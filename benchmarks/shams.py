"""Scores of a trained detector at shams and at untouched sites.

python -m benchmarks.shams CHECKPOINT STORE [--per-scan 30] [--seed 0]

Shams are inserted into each scan of STORE that CHECKPOINT was not trained on.
Each is paired with a free site of the same kind and radius in the same scan,
which is left untouched. If the detector has learnt traces of the insertion, it
scores shams higher, and the area under the ROC curve between the two is above
one half.

A piece that was moved can also score high because it looks like a nodule where
it is now. So the same pieces are, in another copy of the scan, put back where
they were cut out, and these scores compared with the original scan's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import mannwhitneyu
from terminaltables import AsciiTable

from benchmarks.roc import area
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.errors import ConfigError
from lungdet.insertion.draw import DrawOptions, donor_of, draw_sham
from lungdet.insertion.insert import insert
from lungdet.insertion.placement import Placement
from lungdet.insertion.sites import Room
from lungdet.insertion.source import ParametricSource
from lungdet.io.case_store import CaseStore
from lungdet.structures import CaseRecord

if TYPE_CHECKING:
    from lungdet.models.detectors import CasePredictor

NO_NODULES = ParametricSource()  # all insertions are shams
RESAMPLES = 2000
TAILS = (2.5, 97.5)
MAX_WIDTH = 0.15  # of an interval that can show that two scores are alike


@dataclass(frozen=True, eq=False)
class Pair:
    """A sham and an untouched site of the same kind and radius.

    Attributes:
        scan: Series uid.
        sham: The sham.
        untouched: Index (z, y, x) of the untouched site.
    """

    scan: str
    sham: Placement
    untouched: np.ndarray

    @property
    def site(self) -> str:
        """Kind of both sites."""
        return self.sham.site

    @property
    def radius_mm(self) -> float:
        """Radius of both sites."""
        return self.sham.size_mm


@dataclass(frozen=True)
class Comparison:
    """Comparison of the scores at shams and at untouched sites.

    Attributes:
        pairs: Number of pairs.
        sham: Mean score at shams.
        untouched: Mean score at untouched sites.
        auc: Probability that a sham scores higher; ties count as one half.
        low: Lower bound of its 95 % interval; pairs are resampled.
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
    def verdict(self) -> str:
        """``'told apart'`` if the interval lacks .5, ``'alike'`` if it
        contains it and is narrow, else ``'too few pairs'``."""
        if not self.low <= 0.5 <= self.high:
            return 'told apart'
        narrow = self.high - self.low <= MAX_WIDTH
        return 'alike' if narrow else 'too few pairs'


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


def draw_pairs(
    room: Room, record: CaseRecord, count: int, seed: int
) -> list[Pair]:
    """Draw up to ``count`` pairs in a scan; their sites do not overlap."""
    uid = record.series_uid
    rng = np.random.default_rng([seed, *uid.encode()])
    pairs = []
    for _ in range(count):
        sham = draw_sham(rng, room, DrawOptions())
        if sham is None:
            continue
        room.occupy(np.array(sham.cut), sham.size_mm)
        other = room.find(rng, sham.site, sham.size_mm)
        if other is None:
            continue
        room.occupy(other.center, sham.size_mm)
        pairs.append(Pair(uid, sham, other.center))
    return pairs


def put_back(room: Room, sham: Placement) -> Placement:
    """The insertion of a sham's piece where it was cut out."""
    piece = donor_of(sham, NO_NODULES, room.image, room.spacing)
    # the array of a piece is centred on the voxel that was cut out
    middle = (np.array(piece.level.shape) - 1) / 2
    center = np.array(sham.cut) + piece.center - middle
    return replace(sham, center=center.tolist(), angle=0.0, flip_z=False)


def with_shams(
    room: Room, record: CaseRecord, shams: Sequence[Placement]
) -> np.ndarray:
    """HU, int16, of a scan with shams."""
    grids = record.geometry, record.source_geometry
    image, _ = insert(room.image, shams, NO_NODULES, *grids)
    return np.rint(image).astype(np.int16)


def highest_scores(
    centers: np.ndarray,
    radii: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    """Highest score (N,) of the boxes centred within each site; 0 if there is
    none.

    Args:
        centers: Indices (N, 3) of the sites.
        radii: Radii (N,) of the sites in voxels.
        boxes: Edge boxes (K, 6).
        scores: Scores (K,) of the boxes.
    """
    middle = (boxes[:, :3] + boxes[:, 3:]) / 2 - 0.5
    away = np.linalg.norm(centers[:, None] - middle, axis=-1)
    at_site = np.where(away <= radii[:, None], scores, 0)
    return at_site.max(1, initial=0)


def unseen_scans(store: CaseStore, checkpoint: Path) -> list[CaseRecord]:
    """The scans of a store that a checkpoint was not trained on.

    Raises:
        ConfigError: It was trained on all of them.
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
            f'{checkpoint}: was trained on all scans of {store.root}; use '
            'cases that were held out.'
        )
    return unseen


def predictor_of_all_boxes(checkpoint: Path) -> CasePredictor:
    """A checkpoint's predictor, without NMS and without a cap."""
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


def detected(
    predictor: CasePredictor, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Edge boxes (K, 6) and scores (K,) in a scan, HU (z, y, x)."""
    import torch

    detections = predictor.predict(torch.from_numpy(image)[None])
    return detections.bboxes.numpy(), detections.scores.numpy()


def scored_pairs(
    checkpoint: Path, store: CaseStore, count: int, seed: int
) -> tuple[list[Pair], np.ndarray, np.ndarray]:
    """Pairs of all scans that were not trained on, and their scores.

    Returns:
        The pairs; scores (N, 2) at shams and untouched sites; scores (N, 2) at
        pieces that were put back, and there in the original scan.
    """
    predictor = predictor_of_all_boxes(checkpoint)
    pairs: list[Pair] = []
    moved, back = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for record in unseen_scans(store, checkpoint):
        room = Room.of_case(store, record)
        drawn = draw_pairs(room, record, count, seed)
        shams = [pair.sham for pair in drawn]
        original, with_moved, with_back = (
            detected(predictor, with_shams(room, record, inserted))
            for inserted in ((), shams, [put_back(room, one) for one in shams])
        )
        radii = np.array([sham.size_mm for sham in shams]) / record.spacing_mm
        at, cut, free = (
            np.array(centers, dtype=float).reshape(-1, 3)
            for centers in (
                [sham.center for sham in shams],
                [sham.cut for sham in shams],
                [pair.untouched for pair in drawn],
            )
        )
        moved.append(
            np.stack(
                [
                    highest_scores(at, radii, *with_moved),
                    highest_scores(free, radii, *original),
                ],
                axis=1,
            )
        )
        back.append(
            np.stack(
                [
                    highest_scores(cut, radii, *with_back),
                    highest_scores(cut, radii, *original),
                ],
                axis=1,
            )
        )
        pairs += drawn
        print(f'{record.series_uid}: {len(drawn)} shams', flush=True)
    return pairs, np.concatenate(moved), np.concatenate(back)


def table(pairs: Sequence[Pair], scores: np.ndarray, title: str) -> str:
    """A table of scores (N, 2): all pairs, then those of each kind of site."""
    sites = np.array([pair.site for pair in pairs])
    rows = [['site', 'pairs', title, 'untouched', 'AUC', '95 %', 'p', '']]
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
                one.verdict,
            ]
        )
    scans = len({pair.scan for pair in pairs})
    return AsciiTable(rows, f'mean scores, {scans} scans').table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('store', type=Path)
    parser.add_argument('--per-scan', type=positive_int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from lungdet.engine.checkpoint import resolve_checkpoint

    file = resolve_checkpoint(args.checkpoint)
    pairs, moved, back = scored_pairs(
        file, CaseStore(args.store), args.per_scan, args.seed
    )
    print(table(pairs, moved, 'sham'))
    print(table(pairs, back, 'put back'))


if __name__ == '__main__':
    with clean_errors('benchmarks.shams'):
        main()
