from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine import load_detector
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.engine.ensemble import join_checkpoints
from lungdet.engine.provenance import describe_weights
from lungdet.errors import CheckpointError, ConfigError
from tests.engine.runs import NO_VALIDATION


@pytest.fixture
def two(tiny_config: Path, tmp_path: Path) -> list[Path]:
    """Two seeds, of one epoch and of two, each of other scans."""
    for name, epochs, held_out in (('a', 1, '1.0'), ('b', 2, '1.1')):
        train(
            tiny_config,
            work_dir=tmp_path / name,
            cfg_options={
                **NO_VALIDATION,
                'train_cfg.max_epochs': epochs,
                'randomness.seed': epochs,
                'test_series': [held_out, '1.3', '1.4'],
            },
        )
    return [tmp_path / 'a' / 'epoch_1.pth', tmp_path / 'b' / 'epoch_2.pth']


def test_joined_checkpoint_detects_and_knows_all_training_scans(
    two: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / 'joined.pth'

    joined = join_checkpoints(two)
    write_checkpoint(path, joined)

    assert joined['meta']['model']['epochs'] == [1, 2]

    model, contract, _ = load_detector(path)
    singles = [load_detector(one) for one in two]
    assert contract == singles[0].contract
    assert [m.bbox_started for m in model.members] == [False, True]
    for member, single in zip(model.members, singles):
        for name, value in single.model.state_dict().items():
            assert torch.equal(member.state_dict()[name], value)
    described = describe_weights(path)
    assert described['train_series'] == ['1.0', '1.1', '1.2']
    case = torch.randint(-1000, 100, (1, 40, 44, 48), dtype=torch.int16)
    scores = model.predict_case(case).scores
    assert torch.equal(scores, scores.sort(descending=True).values)


def test_several_checkpoints_are_tested_as_one(
    two: list[Path], tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    with pytest.raises(CheckpointError, match='1 of the 1 test scans'):
        run_test(
            tiny_config,
            two,
            out=tmp_path / 'leak',
            cfg_options={'test_series': ['1.0']},
        )

    metrics = run_test(tiny_config, two, out=out)

    assert 0 <= metrics['froc/cpm'] <= 1
    assert read_checkpoint(out / 'ensemble.pth')['meta']['model']['type'] == (
        'EnsembleDetector'
    )
    # finished scans of the same members are skipped, of others refused
    done = {p: p.stat().st_mtime_ns for p in out.glob('scans/*.json')}
    assert len(done) == 2
    assert run_test(tiny_config, two, out=out) == metrics
    assert done == {p: p.stat().st_mtime_ns for p in done}
    weights = (out / 'ensemble.pth').read_bytes()
    with pytest.raises(ConfigError, match='tested with another checkpoint'):
        run_test(tiny_config, two[::-1], out=out)
    assert (out / 'ensemble.pth').read_bytes() == weights


def test_checkpoints_of_other_input_are_not_joined(
    two: list[Path], tmp_path: Path
) -> None:
    other = read_checkpoint(two[1])
    other['meta']['input_contract']['window'] = [-1000.0, 400.0]
    torch.save(other, tmp_path / 'other.pth')

    with pytest.raises(CheckpointError, match='other input than those of'):
        join_checkpoints([two[0], tmp_path / 'other.pth'])
