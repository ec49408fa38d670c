"""What a run's folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lungdet.engine.run_manifest import (
    MANIFEST_FILE,
    RunCost,
    RunManifest,
    RunManifestHook,
    RunStart,
    claim_folder,
    values_digest,
    weights_digest,
)
from lungdet.errors import ConfigError
from tests.schemas import assert_valid

WHOLE = RunManifest(
    {'fold': '3', 'test_series': ['1.2']},
    RunStart('ab' * 32, ('1.3', '1.4')),
    RunCost(12.5, 'CPU'),
    {'froc/cpm': 0.5},
)


def runner(folder: Path, model: torch.nn.Module, *, step: int = 0) -> Any:
    dataset = SimpleNamespace(metainfo={'series_uids': ['1.2', '1.3']})
    return SimpleNamespace(
        iter=step,
        rank=0,
        world_size=2,
        model=model,
        work_dir=str(folder),
        train_dataloader=SimpleNamespace(dataset=dataset),
    )


@pytest.mark.parametrize('manifest', [RunManifest(), WHOLE])
def test_what_is_written_is_read(
    manifest: RunManifest, tmp_path: Path
) -> None:
    assert RunManifest.read(tmp_path) is None

    manifest.write(tmp_path)
    written = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert_valid('run', written)

    assert RunManifest.read(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_FILE]


# a cost of 400 digits
COSTLY = (
    '{"schema": "lungdet.run/1", "identity": {}, "start": null, "metrics": '
    'null, "cost": {"seconds": ' + '9' * 400 + ', "unit": "CPU"}}'
)
TEXT_METRIC = (
    '{"schema": "lungdet.run/1", "identity": {}, "start": null, "cost": null, '
    '"metrics": {"froc/cpm": "1.2"}}'
)


@pytest.mark.parametrize(
    'text',
    [
        *('{"schema": "lungdet.run/1"', '{"schema": "other/1"}', '[]', '7'),
        *('null', '[' * 100_000, COSTLY, TEXT_METRIC),
    ],
)
def test_other_files_are_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)

    with pytest.raises(ConfigError, match=r'manifest\.json: not a lungdet'):
        RunManifest.read(tmp_path)


def test_comparing_names_what_differs() -> None:
    assert WHOLE.compare({**WHOLE.identity}) == []
    assert WHOLE.compare({'fold': '4', 'test_series': ['1.2']}) == ['fold']
    assert WHOLE.compare({'fold': '3', 'config': 'c'}) == [
        'config',
        'test_series',
    ]


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    assert claim_folder(tmp_path, {'fold': '3'}) == RunManifest({'fold': '3'})
    RunManifest({'fold': '3'}, cost=RunCost(1.0, 'GPU')).write(tmp_path)

    # what goes on finds what was written before
    assert claim_folder(tmp_path, {'fold': '3'}).cost == RunCost(1.0, 'GPU')
    with pytest.raises(ConfigError, match=r"another fold \('3'\), config \("):
        claim_folder(tmp_path, {'fold': '4', 'config': 'c'})


def test_digest_is_of_values_and_not_of_their_order() -> None:
    one = {'a': [1, (2, 3)], 'b': {'c': None}}

    same = {'b': {'c': None}, 'a': [1, [2, 3]]}
    assert values_digest(one) == values_digest(same)
    assert values_digest(one) != values_digest({**one, 'a': [1, [3, 2]]})


def test_start_is_written_once_and_left_by_a_resumed_run(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = torch.nn.BatchNorm1d(3)
    claim_folder(tmp_path, {'fold': '3'})

    RunManifestHook().before_train(runner(tmp_path, model))
    first = RunManifest.read(tmp_path)
    model.running_mean += 1
    RunManifestHook().before_train(runner(tmp_path, model, step=4))

    assert RunManifest.read(tmp_path) == first
    assert first.identity == {'fold': '3'}
    assert first.start.train_series == ('1.2', '1.3')
    assert first.start.weights != weights_digest(model)
    model.running_mean -= 1
    assert first.start.weights == weights_digest(model)


def test_cost_of_a_continued_training_adds_to_that_of_its_checkpoint(
    tmp_path: Path,
) -> None:
    run = runner(tmp_path, torch.nn.Identity())
    hook, kept = RunManifestHook(), {}
    hook.before_train(run)
    sum(range(3_000_000))
    hook.before_save_checkpoint(run, kept)
    first = kept['cost_seconds']
    assert first > 0

    continued = RunManifestHook()
    continued.after_load_checkpoint(run, json.loads(json.dumps(kept)))
    continued.before_train(run)
    continued.before_save_checkpoint(run, kept)
    assert first <= kept['cost_seconds'] < 1.5 * first
    assert RunManifest.read(tmp_path).cost is None
    continued.after_run(run)
    cost = RunManifest.read(tmp_path).cost
    assert cost.seconds >= kept['cost_seconds']
    assert cost.unit == ('GPU' if torch.cuda.is_available() else 'CPU')


def test_a_test_writes_no_cost(tmp_path: Path) -> None:
    RunManifestHook().after_run(runner(tmp_path, torch.nn.Identity()))

    assert RunManifest.read(tmp_path) is None
