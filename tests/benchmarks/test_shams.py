"""The gate of shams: a detector scores them as it does untouched lung."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.shams import (
    compare,
    draw_pairs,
    highest_scores,
    put_back,
    table,
    unseen_scans,
    with_shams,
)
from lungdet.errors import ConfigError
from lungdet.insertion.placement import Placement
from lungdet.insertion.sites import Room
from lungdet.io.case_store import CaseStore, rebuild_index
from tests.datasets.stores import write_airy


@pytest.fixture
def airy(tmp_path: Path) -> CaseStore:
    write_airy(tmp_path / 'cases', '1.1', 0)
    rebuild_index(tmp_path / 'cases')
    return CaseStore(tmp_path / 'cases')


def test_a_detector_that_sees_shams_is_told_from_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    untouched = rng.uniform(size=300) ** 4
    alike, seen_by_it = rng.uniform(size=300) ** 4, untouched + 0.2

    same, other = compare(alike, untouched), compare(seen_by_it, untouched)

    assert same.verdict == 'alike' and same.p > 0.05 and same.pairs == 300
    assert other.verdict == 'told apart'
    assert other.low > 0.5 and other.p < 0.001


def test_few_pairs_show_nothing() -> None:
    """Three of thirteen shams are marked, and nothing else."""
    sham = np.array([0.9] * 3 + [0.0] * 10)

    few = compare(sham, np.zeros(13))

    assert few.auc == pytest.approx((3 + 10 / 2) / 13)
    assert few.low == 0.5 and few.verdict == 'too few pairs'


def test_score_of_a_site_is_the_highest_within_its_radius() -> None:
    centers = np.array([[10.0, 10, 10], [30, 30, 30], [50, 50, 50]])
    boxes = np.array(
        [
            [8, 8, 8, 13, 13, 13],  # centred on the first
            [9, 9, 9, 14, 14, 14],
            [33, 30, 30, 35, 31, 31],  # 3.5 from the second
        ]
    )
    scores = np.array([0.2, 0.7, 0.9])

    at = highest_scores(centers, np.array([4.0, 3.0, 9.0]), boxes, scores)

    assert at.tolist() == [0.7, 0, 0]
    none = highest_scores(centers, np.ones(3), boxes[:0], scores[:0])
    assert none.tolist() == [0, 0, 0]


def test_shams_change_their_sites_and_leave_the_others(
    airy: CaseStore,
) -> None:
    record = airy.records['1.1']
    original = airy.read('1.1', 'image')
    room, other = (Room.of_case(airy, record) for _ in range(2))

    pairs = draw_pairs(room, record, 8, seed=0)
    again = draw_pairs(other, record, 8, seed=0)
    image = with_shams(room, record, [pair.sham for pair in pairs])

    changed = np.argwhere(image != original)
    assert changed.size and [p.sham for p in pairs] == [p.sham for p in again]
    for pair in pairs:
        sham = pair.sham
        for center in (sham.cut, pair.untouched):
            away = np.linalg.norm(changed - np.array(center), axis=1)
            assert (away > 0.5 * sham.size_mm).all()


def test_each_kind_of_site_has_a_line(airy: CaseStore) -> None:
    record = airy.records['1.1']
    pairs = draw_pairs(Room.of_case(airy, record), record, 8, seed=0)
    first = pairs[0].site
    # every sham of one kind is marked, and no other
    scores = np.array([[0.8 * (pair.site == first), 0.0] for pair in pairs])

    lines = table(pairs, scores, 'sham').splitlines()

    (whole,) = (line for line in lines if '| all ' in line)
    (marked,) = (line for line in lines if f'| {first} ' in line)
    assert f'| {len(pairs)} ' in whole
    assert '| 0.800 | 0.000     | 1.000 | 1.000 to 1.000 ' in marked
    assert 'told apart' in marked


def test_a_piece_that_is_put_back_changes_next_to_nothing(
    airy: CaseStore,
) -> None:
    record = airy.records['1.1']
    image = airy.read('1.1', 'image').astype(np.float32)
    image[:, 39:41, 40:42] = 0  # a vessel
    room = Room(image, airy.read('1.1', 'lungs'), np.ones(3))
    cut, radius = (40, 40, 41), 6.0
    sham = Placement(
        'sham', 'scan', 'vessel', (30, 33, 50), size_mm=radius, cut=cut
    )

    moved, back = (
        np.abs(with_shams(room, record, [one]) - image)
        for one in (sham, put_back(room, sham))
    )

    # a vessel of two by two voxels, 870 HU above the lung, blurred by the scan
    assert moved[30, 33, 50] > 300
    assert back.max() < 200 and back[40, 40, 41] < 60


def test_scans_that_were_trained_on_are_left_out(
    trained: Path, tiny_store: Path
) -> None:
    checkpoint = trained / 'epoch_1.pth'
    store = CaseStore(tiny_store)

    unseen = unseen_scans(store, checkpoint)

    assert {record.series_uid for record in unseen} == {'1.3', '1.4'}
    for record in unseen:
        del store.records[record.series_uid]
    with pytest.raises(ConfigError, match='use cases that were held out'):
        unseen_scans(store, checkpoint)
