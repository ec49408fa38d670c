"""Scans that weights were trained on, and those of earlier weights."""

from __future__ import annotations

from lungdet.engine.training_scans import TrainingScans

LABELLED = TrainingScans(('a', 'b'), ('P',))
CROPS = TrainingScans(('c',), ('Q',), 'train')


def test_scans_of_a_data_set_are_sorted() -> None:
    data = {'series_uids': ['b', 'a'], 'patients': ['P'], 'split': 'train'}

    assert TrainingScans.of_data(data) == LABELLED
    assert TrainingScans.of_data({}) == TrainingScans()


def test_earlier_scans_are_added_and_their_folds_remembered() -> None:
    everywhere = TrainingScans(('d',), ('R',), 'all')

    assert CROPS.after(everywhere) == TrainingScans(
        ('c', 'd'), ('Q', 'R'), 'all'
    )
    # a detector has no folds, whatever its backbone was pre-trained on
    assert LABELLED.after(everywhere).folds is None
    assert CROPS.after(LABELLED).folds == 'train'


def test_what_is_written_is_read() -> None:
    for scans in (LABELLED, CROPS):
        assert TrainingScans.from_dict(scans.to_dict()) == scans
