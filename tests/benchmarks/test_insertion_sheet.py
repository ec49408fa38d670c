"""The picture of inserted nodules beside real ones."""

from __future__ import annotations

import numpy as np

from benchmarks.insertion_pairs import NodulePatch
from benchmarks.insertion_sheet import matched, sheet


def patch(diameter: float, *, inserted: bool) -> NodulePatch:
    image = np.full((9, 9, 9), -800.0)
    return NodulePatch(image, np.full(3, 4.0), diameter, '', inserted, 0)


def test_inserted_nodules_beside_real_ones_have_their_sizes() -> None:
    inserted = [patch(d, inserted=True) for d in (16, 5, 9, 8, 20)]
    real = [patch(d, inserted=False) for d in (5.5, 8.5, 9, 22)]

    beside = matched(inserted, real)

    assert [sample.diameter for sample in beside] == [5, 8, 9, 20]


def test_a_sheet_shows_the_smallest_real_nodules() -> None:
    inserted = [patch(d, inserted=True) for d in (5, 6, 7, 30)]
    real = [patch(d, inserted=False) for d in (30, 6, 5)]

    figure = sheet(inserted, real, 2)

    for part in figure.subfigs:
        shown = [axis for axis in part.axes if axis.images]
        assert len(shown) == 2
