"""Scans that weights were trained on, and those of earlier weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import train
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import ConfigError

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


@pytest.mark.parametrize(
    ('validated', 'first'),
    [
        ({'series_uids': ['z', 'b', 'a'], 'patients': ['R']}, '2 of .* a;'),
        ({'series_uids': ['z'], 'patients': ['P']}, '1 of .* P;'),
    ],
)
def test_scans_that_are_trained_on_validate_nothing(
    validated: dict, first: str
) -> None:
    everywhere = TrainingScans(LABELLED.series, LABELLED.patients, 'all')

    with pytest.raises(ConfigError, match=f'val_dataloader: {first}'):
        LABELLED.check_validation(validated)
    everywhere.check_validation(validated)
    LABELLED.check_validation({'series_uids': ['z'], 'patients': ['R']})


def test_weights_of_validated_scans_are_refused(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """They were trained on 1.1, which this run validates."""
    options = {
        'load_from': str(trained),
        'test_series': ['1.4'],
        'val_series': ['1.1'],
    }

    with pytest.raises(ConfigError, match=r'by the weights .* first 1\.1;'):
        train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)


def test_loaders_with_other_folds_train_nothing(
    tiny_config: Path, tmp_path: Path
) -> None:
    """Subset 9 is validated, and the training holds out only one of it."""
    options = {'train_dataloader.dataset.test_series': ['1.3']}

    with pytest.raises(ConfigError, match=r'1 of its scans .* first 1\.4;'):
        train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    assert not list((tmp_path / 'w').glob('*.pth'))
