"""What a command adds to a config, and that the given one stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from lungdet.apis import load_config
from lungdet.apis.run_config import (
    candidates_config,
    joined_config,
    results_config,
    run_config,
    training_config,
)
from lungdet.errors import ConfigError


def differences(new: Any, old: Any, key: str = '') -> dict[str, Any]:
    """New values by dotted key, lists as a whole; None where one is gone."""
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return {} if new == old else {key: new}
    changed: dict[str, Any] = {}
    for name in {**old, **new}:
        inner = f'{key}.{name}' if key else name
        changed |= differences(new.get(name), old.get(name), inner)
    return changed


def changes(
    config: Path, change: Callable[[Config], Config], **options: Any
) -> dict[str, Any]:
    """What a function changes in a config, which it must leave alone."""
    loaded = load_config(config, options)
    before = Config(loaded.to_dict()).to_dict()

    new = change(loaded).to_dict()

    assert loaded.to_dict() == before
    return differences(new, before)


def test_a_run_has_a_folder_and_processes(tiny_config: Path) -> None:
    assert changes(
        tiny_config, lambda c: run_config(c, 'w', launcher='mpi', verbose=True)
    ) == {'work_dir': 'w', 'launcher': 'mpi', 'verbose': True}


def test_a_config_may_be_verbose_itself(tiny_config: Path) -> None:
    made = changes(
        tiny_config, lambda c: run_config(c, 'w'), **{'+verbose': True}
    )

    assert made == {'work_dir': 'w', 'launcher': 'none'}


def test_options_of_a_training(tiny_config: Path, tmp_path: Path) -> None:
    file = tmp_path / 'epoch_3.pth'
    file.touch()

    def asked(config: Config) -> Config:
        return training_config(
            config, amp=True, resume=file, new_schedule=True, scale_lr=True
        )

    assert changes(tiny_config, asked) == {
        'resume_with_new_schedule': True,
        'auto_scale_lr.enable': True,
        'optim_wrapper.type': 'BF16OptimWrapper',
        'model.test_cfg.bf16': True,
        'resume': True,
        'load_from': str(file),
    }


def test_a_rate_is_not_scaled_without_a_batch_size(tiny_config: Path) -> None:
    config = load_config(tiny_config, {'auto_scale_lr': None})

    with pytest.raises(ConfigError, match='auto_scale_lr: is missing'):
        training_config(config, scale_lr=True)


def test_a_plain_training_follows_its_config(tiny_config: Path) -> None:
    assert changes(tiny_config, training_config) == {
        'resume_with_new_schedule': False
    }
    assert changes(
        tiny_config, lambda c: training_config(c, resume='auto')
    ) == {'resume_with_new_schedule': False, 'resume': True}


def test_candidates_are_loaded_before_the_case_is_packed(
    tiny_config: Path,
) -> None:
    made = changes(
        tiny_config, lambda c: candidates_config(c, Path('a/list.csv'), 20)
    )

    pipeline = made.pop('test_dataloader.dataset.pipeline')
    assert [step['type'] for step in pipeline] == [
        'LoadCase',
        'LoadCandidates',
        'PackDetInputs',
    ]
    assert (pipeline[1]['path'], pipeline[1]['diameter_mm']) == (
        'a/list.csv',
        20,
    )
    assert made == {'test_evaluator.candidates': 'list.csv'}


def test_an_ensemble_has_a_member_for_each_file(tiny_config: Path) -> None:
    config = load_config(tiny_config)
    model = config.model.to_dict()

    made = joined_config(config, [3, 4])

    assert made.model.to_dict() == {
        'type': 'EnsembleDetector',
        'members': [model, model],
        'epochs': [3, 4],
    }
    assert config.model.to_dict() == model


def test_results_need_nothing_of_a_training(tiny_config: Path) -> None:
    hooks = [{'type': 'EMAHook'}, {'type': 'SyncBuffersHook'}]

    made = changes(
        tiny_config,
        lambda c: results_config(c, Path('a.pth'), Path('out')),
        custom_hooks=hooks,
    )

    gone = {name for name, value in made.items() if value is None}
    assert {name: made[name] for name in made.keys() - gone} == {
        'load_from': 'a.pth',
        'test_evaluator.out_dir': 'out',
        'test_dataloader.dataset.skip_done': str(Path('out') / 'scans'),
        'custom_hooks': hooks[1:],
    }
    assert {'train_dataloader', 'train_cfg', 'val_dataloader'} <= gone


def test_finished_scans_are_skipped_for_the_froc_alone(
    tiny_config: Path,
) -> None:
    evaluators = [{'type': 'FROCMetric'}, {'type': 'RestorationMetric'}]

    made = changes(
        tiny_config,
        lambda c: results_config(c, Path('a.pth'), Path('out')),
        test_evaluator=evaluators,
    )

    assert 'test_dataloader.dataset.skip_done' not in made
    assert made['test_evaluator'][0]['out_dir'] == 'out'
    with pytest.raises(ConfigError, match='0 of its metrics score'):
        changes(
            tiny_config,
            lambda c: results_config(c, Path('a.pth'), Path('out')),
            test_evaluator=evaluators[1:],
        )
