"""The gate of shams: a detector scores them as it does untouched lung."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.shams import (
    compare,
    highest_scores,
    table,
    unseen_scans,
    with_shams,
)
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore, rebuild_index
from tests.datasets.stores import write_airy


@pytest.fixture
def airy(tmp_path: Path) -> CaseStore:
    write_airy(tmp_path / 'cases', '1.1', 0)
    rebuild_index(tmp_path / 'cases')
    return CaseStore(tmp_path / 'cases')


def test_a_detector_that_sees_shams_is_told_from_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    untouched = rng.uniform(size=80) ** 4
    alike, seen_by_it = rng.uniform(size=80) ** 4, untouched + 0.2

    same, other = compare(alike, untouched), compare(seen_by_it, untouched)

    assert same.passes and same.low < same.auc < same.high
    assert same.p > 0.05 and same.pairs == 80
    assert not other.passes and other.low > 0.5 and other.p < 0.001


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

    image, pairs = with_shams(airy, record, 8, seed=0)
    again, _ = with_shams(airy, record, 8, seed=0)

    changed = np.argwhere(image != original)
    assert pairs and (image == again).all()
    for pair in pairs:
        for center, is_changed in ((pair.sham, True), (pair.untouched, False)):
            away = np.linalg.norm(changed - center, axis=1)
            assert (away < 0.5 * pair.radius_mm).any() == is_changed
    text = table(pairs, np.zeros((len(pairs), 2)))
    assert '| all ' in text and '0.500' in text and 'alike' in text


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
