"""What may be in a checkpoint, and which file is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lungdet.apis import train
from lungdet.engine import load_detector
from lungdet.engine.checkpoint import (
    CHECKPOINT_FORMAT,
    newest_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    resolve_checkpoint,
)
from lungdet.errors import CheckpointError


def test_foreign_and_cut_checkpoints_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    torch.save({'state_dict': {}}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='was not written by this'):
        read_checkpoint(tmp_path / 'other.pth')
    whole = resolve_checkpoint(trained).read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match='cannot be read'):
        read_checkpoint(tmp_path / 'cut.pth')
    with pytest.raises(FileNotFoundError, match='train first'):
        resolve_checkpoint(tmp_path / 'nothing' / 'x.pth')


def test_other_things_that_torch_reads_are_refused(tmp_path: Path) -> None:
    """A bare tensor, a dict without meta, a checkpoint without a model."""
    for content, message in (
        (torch.zeros(2), 'not written by this'),
        ({'meta': 3}, 'not written by this'),
        (
            {'meta': {'format': CHECKPOINT_FORMAT}},
            'does not describe its model',
        ),
    ):
        torch.save(content, tmp_path / 'x.pth')
        with pytest.raises(CheckpointError, match=message):
            load_detector(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    'model',
    [
        {'type': 'subprocess.getoutput', 'cmd': 'touch {mark}'},
        {'type': 'os.path.abspath', 'path': 'x'},
        {
            'type': 'NoduleNet',
            'rpn_head': {},
            'backbone': {
                'type': 'FeatureNet',
                'plugins': [
                    {
                        'cfg': {
                            'type': 'subprocess.getoutput',
                            'cmd': 'touch {mark}',
                        },
                        'position': 'after_add',
                    }
                ],
            },
        },
        {'type': 'NoduleNet', '_scope_': 'subprocess'},
        {'type': ['NoduleNet']},
    ],
)
def test_checkpoint_runs_nothing_that_it_names(
    tmp_path: Path, model: dict
) -> None:
    mark = tmp_path / 'ran'
    text = repr(model).replace('{mark}', str(mark))
    meta = {'format': CHECKPOINT_FORMAT, 'model': eval(text)}
    torch.save({'meta': meta, 'state_dict': {}}, tmp_path / 'evil.pth')

    with pytest.raises(CheckpointError, match='which is not registered'):
        load_detector(tmp_path / 'evil.pth')

    assert not mark.exists()


def test_class_of_ones_own_is_named_with_its_imports(tmp_path: Path) -> None:
    meta = {
        'format': CHECKPOINT_FORMAT,
        'model': {'type': 'MyNet'},
        'imports': ['my_project.nets'],
    }
    torch.save({'meta': meta, 'state_dict': {}}, tmp_path / 'own.pth')

    with pytest.raises(
        CheckpointError, match=r"'MyNet'.*\['my_project.nets'\]: import"
    ):
        load_detector(tmp_path / 'own.pth')


def write_checkpoint(path: Path, when: int) -> Path:
    torch.save({'meta': {'format': CHECKPOINT_FORMAT}}, path)
    os.utime(path, (when, when))
    return path


def test_file_that_was_named_is_never_replaced_by_another(
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path / 'epoch_1.pth', 1)
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')

    with pytest.raises(FileNotFoundError, match=r'are epoch_1\.pth'):
        resolve_checkpoint(tmp_path / 'epoch_99.pth')
    for given in (tmp_path, tmp_path / 'last_checkpoint'):
        assert resolve_checkpoint(given).name == 'epoch_1.pth'


def test_half_written_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / '.tmp-77-epoch_1.pth').write_bytes(b'half')
    assert newest_checkpoint(tmp_path) is None
    good = write_checkpoint(tmp_path / 'epoch_1.pth', 1)
    (tmp_path / 'epoch_2.pth').write_bytes(b'half')
    (tmp_path / 'last_checkpoint').write_text('gone.pth')

    with (
        pytest.warns(UserWarning, match=r'epoch_2\.pth.*passed over'),
        pytest.warns(UserWarning, match=r'taking epoch_1\.pth'),
    ):
        assert newest_checkpoint(tmp_path) == good


def test_run_killed_in_its_first_save_starts_again(
    tiny_config: Path, tmp_path: Path
) -> None:
    work = tmp_path / 'work'
    work.mkdir()
    (work / '.tmp-77-epoch_1.pth').write_bytes(b'half a checkpoint')
    theirs = work / 'my_own.pth'
    theirs.write_bytes(b'weights of the user')
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 6,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'default_hooks.checkpoint.save_best': None,
    }

    with pytest.warns(UserWarning, match=r'my_own\.pth.*passed over'):
        train(tiny_config, work_dir=work, resume='auto', cfg_options=options)

    assert not list(work.glob('.tmp-*'))
    assert theirs.read_bytes() == b'weights of the user'


def test_only_numbered_files_are_pruned(tmp_path: Path) -> None:
    names = ['epoch_1.pth', 'iter_3.pth', 'my_model.pth', 'epoch_best.pth']
    for when, name in enumerate([*names, '.tmp-1-epoch_2.pth']):
        write_checkpoint(tmp_path / name, when)

    found = [path.name for path in numbered_checkpoints(tmp_path)]

    assert found == ['epoch_1.pth', 'iter_3.pth']
