"""What is in a file of weights, which file is meant, and what fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lungdet.apis import train
from lungdet.engine.checkpoint import (
    CHECKPOINT_FORMAT,
    META_TYPES,
    CheckpointMeta,
    newest_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    resolve_checkpoint,
)
from lungdet.engine.release import shipped_release
from lungdet.errors import CheckpointError
from tests.engine.runs import NO_VALIDATION


def test_checkpoint_is_plain_and_carries_what_inference_needs(
    trained: Path,
) -> None:
    checkpoint = torch.load(resolve_checkpoint(trained), weights_only=True)

    assert checkpoint['meta']['model']['type'] == 'NoduleNet'
    assert checkpoint['meta']['input_contract']['spacing_mm'] == 1.0
    assert checkpoint['meta']['epoch'] == 1
    assert not list(trained.glob('.tmp-*'))
    # a moved work dir still resolves
    moved = trained.rename(trained.with_name('moved'))
    assert resolve_checkpoint(moved / 'last_checkpoint').parent == moved


def test_checkpoint_does_not_grow_with_the_history_of_losses(
    tiny_config: Path, tmp_path: Path
) -> None:
    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )
    for _ in range(5000):
        runner.message_hub.update_scalar('train/loss', 1.0)

    runner.save_checkpoint(tmp_path, 'epoch_2.pth')

    short = resolve_checkpoint(tmp_path / 'work')
    grown = (tmp_path / 'epoch_2.pth').stat().st_size - short.stat().st_size
    assert abs(grown) < 100


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


def write_checkpoint(path: Path, when: int) -> Path:
    content = {'meta': {'format': CHECKPOINT_FORMAT}, 'state_dict': {}}
    torch.save(content, path)
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


def write_files(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_releases_are_given_by_either_file_or_by_their_folder(
    tmp_path: Path,
) -> None:
    write_files(tmp_path, 'a.safetensors', 'a.json', 'backbone.safetensors')
    tensors = tmp_path / 'a.safetensors'

    for given in (tensors, tmp_path / 'a.json', tmp_path):
        assert resolve_checkpoint(given) == tensors


def test_which_of_several_releases_must_be_said(tmp_path: Path) -> None:
    write_files(tmp_path, 'a.safetensors', 'a.json', 'b.safetensors', 'b.json')

    with pytest.raises(CheckpointError, match=r'a\.saf.*, b\.saf.*give the'):
        resolve_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'folder are a\.safetensors'):
        resolve_checkpoint(tmp_path / 'c.safetensors')


def test_a_work_folder_stands_for_its_checkpoint(tmp_path: Path) -> None:
    """Also if a release was written to it, or no checkpoint is whole."""
    good = write_checkpoint(tmp_path / 'epoch_1.pth', 1)
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    write_files(tmp_path, 'a.safetensors', 'a.json')
    assert resolve_checkpoint(tmp_path) == good

    good.write_bytes(b'half')
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth'):
        resolve_checkpoint(tmp_path)


def test_a_json_without_its_tensors_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, 'a.json')

    with pytest.raises(CheckpointError, match=r'a\.safetensors is not beside'):
        resolve_checkpoint(tmp_path / 'a.json')


def test_names_of_shipped_detectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or folder of that name comes first."""
    monkeypatch.chdir(tmp_path)

    assert resolve_checkpoint('lungdet_s') == shipped_release()
    with pytest.raises(FileNotFoundError, match=r'by name: lungdet_s\.'):
        resolve_checkpoint('lungdet_xl')
    write_files(tmp_path / 'lungdet_s', 'a.safetensors', 'a.json')
    here = Path('lungdet_s', 'a.safetensors')
    assert resolve_checkpoint('lungdet_s') == here


def test_half_written_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / '.tmp-77-epoch_1.pth').write_bytes(b'half')
    assert newest_checkpoint(tmp_path) is None
    good = write_checkpoint(tmp_path / 'epoch_1.pth', 1)
    (tmp_path / 'epoch_2.pth').write_bytes(b'half')
    (tmp_path / 'last_checkpoint').write_text('gone.pth')

    with (
        pytest.warns(UserWarning, match=r'epoch_2\.pth.*skipped'),
        pytest.warns(UserWarning, match=r'taking epoch_1\.pth'),
    ):
        assert newest_checkpoint(tmp_path) == good


def test_only_numbered_files_are_pruned(tmp_path: Path) -> None:
    names = ['epoch_1.pth', 'iter_3.pth', 'my_model.pth', 'epoch_best.pth']
    for when, name in enumerate([*names, '.tmp-1-epoch_2.pth']):
        write_checkpoint(tmp_path / name, when)

    names_kept = [path.name for path in numbered_checkpoints(tmp_path)]

    assert names_kept == ['epoch_1.pth', 'iter_3.pth']


def test_meta_is_read_as_it_was_written(trained: Path, tmp_path: Path) -> None:
    meta = CheckpointMeta.of(read_checkpoint(trained), trained)

    assert CheckpointMeta.of({'meta': meta.to_dict()}, 'x') == meta
    assert (meta.epoch, meta.iter, meta.epoch_length) == (1, 4, 4)
    assert meta.scans.series == ('1.0', '1.1', '1.2')
    assert meta.input_contract.spacing_mm == 1.0
    assert meta.to_dict().keys() == META_TYPES.keys()
    for key in META_TYPES:
        lacking = {k: v for k, v in meta.to_dict().items() if k != key}
        with pytest.raises(CheckpointError, match=f'x: has no meta.{key};'):
            CheckpointMeta.of({'meta': lacking}, 'x')
