from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from lungdet.datasets import LUNA16Dataset, LungCropDataset
from lungdet.engine import ExactSampler, Key
from lungdet.errors import ConfigError, SeriesError
from lungdet.io.case_store import rebuild_index
from tests.datasets.stores import SPATIAL, training_crops, write_balls


def test_draws_follow_seed_epoch_and_position_alone(balls: Path) -> None:
    data = training_crops(
        balls,
        {'type': 'RandomFlip3D'},
        size=(32, 32, 32),
        after=(
            {'type': 'RandomNoise', 'prob': 1.0},
            {'type': 'RandomHUShiftScale', 'prob': 1.0},
        ),
        background_ratio=1.0,
    )
    copy = pickle.loads(pickle.dumps(data))

    first = [data[Key(k, 3, k)]['inputs'] for k in range(6)]
    again = [copy[Key(k, 3, k)]['inputs'] for k in reversed(range(6))][::-1]
    other = [data[Key(k, 4, k)]['inputs'] for k in range(6)]

    assert all(bool((a == b).all()) for a, b in zip(first, again))
    assert not any(bool((a == b).all()) for a, b in zip(first, other))
    assert len(data) == 6


def test_unknown_split_lists_those_of_the_data_set(
    balls: Path, lungs: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'tain'; choose .*'test'"):
        LUNA16Dataset(balls, 'tain', pipeline=[])
    with pytest.raises(ConfigError, match=r"'test'; choose .*'val'\)"):
        LungCropDataset(lungs, 'test', pipeline=[], window=(-1200, 600))


def test_broken_case_names_its_sample(tmp_path: Path) -> None:
    write_balls(tmp_path, '7.7', 0, True)
    rebuild_index(tmp_path)
    data = training_crops(tmp_path, test_subsets=())
    path = tmp_path / 'cases' / '7.7.image.b2nd'
    path.write_bytes(path.read_bytes()[:90])

    with pytest.raises(
        SeriesError, match=r'7\.7 epoch 4 position 9 nodule: .*image\.b2nd'
    ):
        data[Key(1, 4, 9)]


def test_broken_transform_names_its_sample(balls: Path) -> None:
    data = LUNA16Dataset(balls, 'test', pipeline=[{'type': 'LoadCrop'}])

    with pytest.raises(
        RuntimeError, match=r'1\.9 epoch 0 position 0 scan: KeyError'
    ):
        data[0]


@pytest.mark.slow
def test_spawned_workers_draw_what_one_process_draws(balls: Path) -> None:
    data = training_crops(
        balls, *SPATIAL['all'], size=(16, 16, 32), background_ratio=1.0
    )

    def epoch(**options: object) -> list:
        loader = DataLoader(
            data,
            batch_size=2,
            sampler=ExactSampler(data, seed=4),
            collate_fn=pseudo_collate,
            **options,
        )
        return [b for batch in loader for b in batch['inputs']]

    alone = epoch()
    spread = epoch(num_workers=2, multiprocessing_context='spawn')

    assert len(alone) == len(spread) == 6
    assert all(bool((a == b).all()) for a, b in zip(alone, spread))
