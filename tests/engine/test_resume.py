"""Order, counters, and runs that are killed and continued."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import ValLoop

from lungdet.apis import load_config, train
from lungdet.engine import (
    ExactSampler,
    Key,
    LateBatchSampler,
    MixSampler,
    read_backbone,
)
from lungdet.engine.checkpoint import read_checkpoint, resolve_checkpoint
from lungdet.engine.resume import check_epochs
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import CheckpointError, ConfigError
from tests.engine.runs import NO_VALIDATION, make_meta
from tests.killed_training import assert_same, assert_same_end, run_train


def test_sampler_deals_every_sample_once_and_continues() -> None:
    data = list(range(7))
    sampler = ExactSampler(data, seed=4)
    sampler.set_epoch(2)
    order = list(sampler)

    assert sorted(order) == data
    assert [k.pos for k in order] == data and order[0].epoch == 2
    sampler.start = 3
    assert list(sampler) == order[3:]
    assert list(sampler) == order  # start is used once
    sampler.set_epoch(3)
    assert list(sampler) != order
    parts = []
    for rank in range(2):
        sampler.rank, sampler.world_size = rank, 2
        parts.append(list(sampler))
    assert sorted(set(parts[0]) | set(parts[1])) == data
    assert len(parts[0]) == len(parts[1]) == len(sampler) == 4


class Kinds:
    """A data set of which a sampler needs the kinds alone."""

    def __init__(self, **counts: int) -> None:
        self.kinds = [name for name, n in counts.items() for _ in range(n)]

    def __len__(self) -> int:
        return len(self.kinds)


def test_mix_sampler_gives_every_batch_about_the_mix() -> None:
    """At either end of a stretch of the epoch less than one sample of a kind
    is missing or too many, so of K kinds the one with a fraction f of all has
    fewer than 2 + 2 K f too many or too few in a batch."""
    data = Kinds(nodule=70, mined=50, lung=50, phantom=30)
    worst = {}
    for kind in (MixSampler, ExactSampler):
        sampler = kind(data, seed=4)
        off: dict[str, float] = {}
        for epoch in range(20):
            sampler.set_epoch(epoch)
            order = sampler.order()
            assert sorted(order) == list(range(200))
            for batch in order.reshape(10, 20):
                names = [data.kinds[index] for index in batch]
                for name in set(data.kinds):
                    expected = data.kinds.count(name) / 10
                    miss = abs(names.count(name) - expected)
                    off[name] = max(off.get(name, 0), miss)
        worst[kind] = off

    for name, off in worst[MixSampler].items():
        assert off < 2 + 8 * data.kinds.count(name) / 200
    assert worst[ExactSampler]['nodule'] > 2 + 8 * 0.35


def test_ranks_of_a_mix_sampler_get_all_kinds() -> None:
    """In strict alternation one of two ranks would get all nodules."""
    sampler = MixSampler(Kinds(nodule=100, lung=100), seed=4)
    sampler.world_size = 2
    for epoch in range(20):
        sampler.set_epoch(epoch)
        nodules = sum(key < 100 for key in sampler)
        assert abs(nodules - 50) <= 20  # four deviations of a binomial


@pytest.mark.parametrize(('drop_last', 'steps'), [(True, 3), (False, 4)])
def test_late_batches_are_smaller_and_as_many(
    drop_last: bool, steps: int
) -> None:
    sampler = ExactSampler(list(range(11)), seed=4)
    batches = LateBatchSampler(sampler, 3, 2, 3, drop_last=drop_last)
    for epoch, size in enumerate([3, 3, 2, 2]):
        sampler.set_epoch(epoch)
        order = list(sampler)
        expected = [order[k : k + size] for k in range(0, 11, size)][:steps]

        assert len(batches) == steps and batches.batch_size == size
        assert list(batches) == expected
        for done in range(steps):
            sampler.start = done * size
            assert list(batches) == expected[done:]


def test_larger_late_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match='4 is more than .* of 3'):
        LateBatchSampler(ExactSampler([1] * 9), 3, 4, 1)


def test_key_survives_pickling() -> None:
    key = pickle.loads(pickle.dumps(Key(5, 2, 9)))

    assert (int(key), key.epoch, key.pos) == (5, 2, 9)


def test_resume_with_epochs_of_another_length_is_refused(
    trained: Path, tiny_config: Path
) -> None:
    """Nine samples: four whole batches of two, or nine of one."""
    saved = sorted(trained.glob('*.pth'))

    with pytest.raises(
        CheckpointError, match='have 4 batches.* this run has 9 batches'
    ):
        train(
            tiny_config,
            work_dir=trained,
            resume='auto',
            cfg_options={'train_dataloader.batch_size': 1},
        )

    assert sorted(trained.glob('*.pth')) == saved


def test_resume_with_other_scans_is_refused() -> None:
    """Their samples would come in place of those that are left."""
    meta = make_meta(epoch_length=4, scans=TrainingScans(('1.0',)))

    check_epochs(meta, 4, ['1.0'], 'a.pth')
    with pytest.raises(CheckpointError, match='without 1 scans.* as 2.0'):
        check_epochs(meta, 4, ['1.0', '2.0'], 'a.pth')


def test_pretraining_resumes_epochs_of_its_own_length_alone(
    genesis_run: Path, genesis_config: Path, tmp_path: Path
) -> None:
    """Eight crops, two scans of four: four batches of two, two of four."""
    with pytest.raises(
        CheckpointError, match='have 4 batches.* this run has 2 batches'
    ):
        train(
            genesis_config,
            work_dir=tmp_path / 'run',
            resume=genesis_run,
            cfg_options={'train_dataloader.batch_size': 4},
        )


def test_killed_in_a_save_the_last_good_file_is_resumed(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, saved = torch.save, []

    def cut_short(content: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) < 3:
            return whole(content, path)
        path.write_bytes(b'half a checkpoint')
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', cut_short)
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 2}
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)
    monkeypatch.setattr(torch, 'save', whole)

    left = resolve_checkpoint(tmp_path / 'work')
    assert left is not None
    assert read_checkpoint(left)['meta']['iter'] == 4
    files = [path.name for path in (tmp_path / 'work').glob('*.pth')]
    assert sorted(files) == ['epoch_1.pth', 'iter_3.pth']


def test_run_killed_in_its_first_save_starts_again(
    tiny_config: Path, tmp_path: Path
) -> None:
    work = tmp_path / 'work'
    work.mkdir()
    (work / '.tmp-77-epoch_1.pth').write_bytes(b'half a checkpoint')
    users_file = work / 'my_own.pth'
    users_file.write_bytes(b'weights of the user')
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 6,
        **NO_VALIDATION,
    }

    with pytest.warns(UserWarning, match=r'my_own\.pth.*skipped'):
        train(tiny_config, work_dir=work, resume='auto', cfg_options=options)

    assert not list(work.glob('.tmp-*'))
    assert users_file.read_bytes() == b'weights of the user'


def test_validation_that_was_cut_off_is_made_up_for(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {'train_cfg.max_epochs': 2}
    run = ValLoop.run
    monkeypatch.setattr(ValLoop, 'run', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)
    assert not (tmp_path / 'work' / 'best.pth').exists()
    monkeypatch.setattr(ValLoop, 'run', run)

    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        resume='auto',
        cfg_options=options,
    )

    best = read_checkpoint(tmp_path / 'work' / 'best.pth')['meta']
    assert best['epoch'] == 2 and best['iter'] == runner.iter
    kept = [p.name for p in (tmp_path / 'work').glob('epoch_*.pth')]
    assert kept == ['epoch_2.pth']  # the best file adds no further epoch file
    assert (tmp_path / 'work' / 'last_checkpoint').read_text() == kept[0]


def test_owed_validation_is_left_out_if_nothing_is_validated(
    trained: Path, tiny_config: Path
) -> None:
    checkpoint = read_checkpoint(trained)
    checkpoint['meta']['val_owed'] = True
    torch.save(checkpoint, trained / 'epoch_1.pth')

    runner = train(
        tiny_config,
        work_dir=trained,
        resume='auto',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 2},
    )

    assert runner.epoch == 2
    assert not read_checkpoint(trained)['meta']['val_owed']


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_killed_and_resumed_ends_bit_for_bit_the_same(
    tiny_config: Path, tmp_path: Path, processes: int
) -> None:
    run_train(tiny_config, tmp_path / 'whole', processes=processes)
    kills = (5, 12) if processes == 1 else (5,)
    for kill in kills:
        run_train(
            tiny_config, tmp_path / 'cut', kill_at=kill, processes=processes
        )
    run_train(tiny_config, tmp_path / 'cut', processes=processes)

    end = assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert end['meta']['epoch'] == 4


@pytest.mark.slow
@pytest.mark.parametrize('method', ['GenesisPretrainer', 'MaskedAutoencoder'])
def test_killed_and_resumed_pretraining_ends_the_same(
    genesis_config: Path, tmp_path: Path, method: str
) -> None:
    config = load_config(genesis_config)
    config.model.type = method
    for hook in config.custom_hooks:
        if hook.type == 'StartWithMSEHook':
            hook.iters = 7  # between the two kills
    config.dump(genesis_config)
    run_train(genesis_config, tmp_path / 'whole')
    for kill in (5, 9):
        run_train(genesis_config, tmp_path / 'cut', kill_at=kill)
    run_train(genesis_config, tmp_path / 'cut')

    end = assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert end['meta']['iter'] == 12
    files = [
        read_backbone(tmp_path / n / 'backbone.safetensors')
        for n in ('whole', 'cut')
    ]
    assert_same(*(dict(tensors) for tensors, _ in files))
    assert files[0][1] == files[1][1]


@pytest.mark.slow
def test_persistent_workers_end_with_the_training(
    tiny_config: Path, tmp_path: Path
) -> None:
    """What they cost is known only when they have ended."""
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.num_workers': 1,
        '+train_dataloader.persistent_workers': True,
        **NO_VALIDATION,
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    assert multiprocessing.active_children() == []
