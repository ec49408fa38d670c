"""Effect of common mistakes on the FROC of a LUNA16 submission.

python -m benchmarks.froc_mistakes deeplung_dpn26.csv.gz

Each row applies LUNA16's rule with one mistake, on all 888 scans. The marks
are those of one system on all ten subsets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.evaluation import (
    PointsByScan,
    annotations_by_scan,
    evaluate_froc,
)
from lungdet.geometry import points_in_spheres
from lungdet.io.luna16 import read_marks
from lungdet.io.reference_set import official_reference, official_subsets

Reading = tuple[list[float], float]


class Task:
    """A submission and LUNA16's tables, as arrays."""

    def __init__(self, submission: Path) -> None:
        official = official_reference()
        self.nodules = annotations_by_scan(official.annotations)
        self.excluded = annotations_by_scan(official.excluded)
        self.marks = read_marks(submission)
        self.uids = list(official.seriesuids)

    def read(self, **changed: object) -> Reading:
        """Evaluate with some tables replaced; returns sensitivities, CPM."""
        inputs = {
            'annotations': self.nodules,
            'excluded': self.excluded,
            'marks': self.marks,
            'seriesuids': self.uids,
        }
        result = evaluate_froc(**{**inputs, **changed})  # type: ignore
        return result.sensitivities or [], result.cpm or 0.0

    def diameters(self, change: Callable) -> dict[str, PointsByScan]:
        """Both tables with changed diameters."""
        return {
            name: {u: (c, change(d)) for u, (c, d) in table.items()}
            for name, table in (
                ('annotations', self.nodules),
                ('excluded', self.excluded),
            )
        }

    def unknown_as(self, diameter: float) -> Reading:
        """Replace unknown diameters by a number."""
        return self.read(
            **self.diameters(lambda d: np.where(np.isnan(d), diameter, d))
        )

    def excluded_first(self) -> Reading:
        """Drop marks on excluded findings before nodules are matched."""
        return self.read(
            marks=self.kept(self.excluded, lambda hit: ~hit.any(0))
        )

    def nearest_mark(self) -> Reading:
        """Give a nodule the score of its nearest mark."""
        marks = {}
        for uid, (centers, scores) in self.marks.items():
            keep = np.ones(len(scores), dtype=bool)
            for center, row in zip(
                self.nodules.get(uid, ((),))[0],
                self.hits_of(self.nodules, uid),
            ):
                gap = np.linalg.norm(centers - center, axis=1)
                keep[row & (gap > gap[row].min(initial=np.inf))] = False
            marks[uid] = centers[keep], scores[keep]
        return self.read(marks=marks)

    def kept(self, annotations: PointsByScan, keep: Callable) -> PointsByScan:
        """Marks whose hits on a table pass a test."""
        marks = {}
        for uid, (centers, scores) in self.marks.items():
            chosen = keep(self.hits_of(annotations, uid))
            marks[uid] = centers[chosen], scores[chosen]
        return marks

    def hits_of(self, annotations: PointsByScan, uid: str) -> np.ndarray:
        """Whether each mark of a scan hits each annotation (N, M), bool."""
        empty = np.zeros((0, 3)), np.zeros(0)
        points, _ = self.marks[uid]
        return points_in_spheres(*annotations.get(uid, empty), points)

    def positive(self) -> list[str]:
        """Scans with a nodule."""
        return [uid for uid in self.uids if uid in self.nodules]

    def missed_left_out(self) -> Reading:
        """Only detected nodules in the denominator."""
        result = evaluate_froc(
            self.nodules, self.excluded, self.marks, self.uids
        )
        inflation = result.curve.nodules / result.counts['tp']
        read = [s * inflation for s in result.sensitivities or []]
        return read, float(np.mean(read))

    def mean_of_subsets(self) -> Reading:
        """Average the ten subsets instead of pooling their marks."""
        parts: dict[int, list[str]] = {}
        for uid, subset in official_subsets().items():
            parts.setdefault(subset, []).append(uid)
        read = [self.read(seriesuids=uids)[0] for uids in parts.values()]
        return np.mean(read, axis=0).tolist(), float(np.mean(read))


VARIANTS: dict[str, Callable[[Task], Reading]] = {
    'the rule': Task.read,
    'exclusion table forgotten': lambda t: t.read(excluded={}),
    'diameter -1 read as 0': lambda t: t.unknown_as(0.0),
    'diameter -1 read as 1 mm': lambda t: t.unknown_as(1.0),
    'excluded before included': Task.excluded_first,
    'only the 601 positive scans listed': lambda t: t.read(
        seriesuids=t.positive()
    ),
    'marks of 601 scans over 888': lambda t: t.read(
        marks={u: t.marks[u] for u in t.positive() if u in t.marks}
    ),
    'missed nodules not in the denominator': Task.missed_left_out,
    'diameter as hit distance': lambda t: t.read(
        **t.diameters(lambda d: 2 * np.where(np.isnan(d), 10.0, d))
    ),
    'hit distance 5 mm': lambda t: t.read(
        **t.diameters(lambda d: np.full(len(d), 10.0))
    ),
    'nearest instead of best mark': Task.nearest_mark,
    'no cap': lambda t: t.read(max_marks=None),
    'cap 300': lambda t: t.read(max_marks=300),
    'mean of the ten subsets': Task.mean_of_subsets,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('submission', type=Path)
    task = Task(parser.parse_args().submission)
    rows = [['', '1/8', '1/4', '1/2', '1', '2', '4', '8', 'CPM']]
    for name, variant in VARIANTS.items():
        sensitivities, cpm = variant(task)
        rows.append([name, *(f'{s:.3f}' for s in sensitivities), f'{cpm:.4f}'])
    print(AsciiTable(rows, '888 scans of 888 listed, 1186 nodules').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.froc_mistakes'):
        main()
