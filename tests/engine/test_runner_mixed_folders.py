"""A training on several folders of cases, in a mix of crops."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import load_config, train
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.run_manifest import RunManifest
from lungdet.errors import ConfigError
from lungdet.registry import DATASETS
from tests.engine.runs import NO_VALIDATION, write_two_folders_config
from tests.killed_training import assert_same_end, run_train


@pytest.fixture
def mixed_config(tiny_config: Path, tmp_path: Path) -> Path:
    return write_two_folders_config(
        tiny_config,
        tmp_path,
        'crops=dict(nodule=4, lung=2), size_weighting=0.5',
        'crops=dict(nodule=1, anywhere=1)',
    )


def test_provenance_is_that_of_all_folders(
    mixed_config: Path, tmp_path: Path
) -> None:
    work = tmp_path / 'work'
    train(
        mixed_config,
        work_dir=work,
        cfg_options={
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            'train_pipeline.0.margin': 2,
        },
    )

    meta = read_checkpoint(work / 'epoch_1.pth')['meta']
    assert meta['epoch_length'] == 4  # eight crops in batches of two
    assert meta['train_series'] == ['1.0', '1.1', '1.2', '7.1']
    assert meta['train_patients'] == ['P']
    manifest = RunManifest.read(work)
    assert manifest.start.train_series == ('1.0', '1.1', '1.2', '7.1')


def test_top_level_series_reach_the_folder_that_they_are_of(
    mixed_config: Path,
) -> None:
    config = load_config(mixed_config, {'test_series': ['1.4']})
    data = DATASETS.build(config.train_dataloader.dataset)

    assert data.metainfo['test_series'] == ['1.4']
    assert '1.3' in data.metainfo['series_uids']
    assert '7.1' in data.metainfo['series_uids']
    transform = data.datasets[1].pipeline.transforms[0]
    assert transform.size == config.model.train_cfg.crop_size == (32, 32, 32)


def test_misspelt_arguments_of_a_part_are_refused(mixed_config: Path) -> None:
    key = 'train_dataloader.dataset.datasets.1.crops'

    with pytest.raises(ConfigError, match=f'{key}: 3 cannot be used'):
        load_config(mixed_config, {key: 3})


@pytest.mark.slow
def test_killed_and_resumed_mix_ends_the_same(
    mixed_config: Path, tmp_path: Path
) -> None:
    run_train(mixed_config, tmp_path / 'whole')
    for kill in (5, 11):
        run_train(mixed_config, tmp_path / 'cut', kill_at=kill)
    run_train(mixed_config, tmp_path / 'cut')

    assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
