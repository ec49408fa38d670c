"""What is in a file of weights, which file is meant, and what fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine import read_backbone
from lungdet.engine.checkpoint import (
    CHECKPOINT_FORMAT,
    fill_module,
    newest_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    resolve_checkpoint,
)
from lungdet.errors import CheckpointError
from tests.engine.runs import NO_VALIDATION
from tests.killed_training import assert_same


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


def test_export_needs_safetensors_alone(weights: Path) -> None:
    """A reader of the file needs no torch, no pickle and no lungdet."""
    code = (
        'import json, sys\n'
        'from safetensors import safe_open\n'
        f'file = safe_open({str(weights)!r}, "np")\n'
        'assert not {"torch", "pickle5", "lungdet"} & set(sys.modules)\n'
        'tensor = file.get_tensor("forw1.0.conv1.weight")\n'
        'print(json.dumps([file.metadata(), len(list(file.keys())), '
        'tensor.shape]))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    header, num, shape = json.loads(done.stdout)
    assert header['format'] == 'lungdet.backbone/2'
    assert shape == [4, 4, 3, 3, 3] and num > 100
    provenance = json.loads(header['provenance'])
    assert provenance['input_contract'] == {
        'window': [-1200, 600],
        'out_range': [-1, 1],
        'spacing_mm': 1.0,
        'plugins': [],
    }
    # 1.2 validates, 1.3 and 1.4 are the test's
    assert provenance['train_series'] == ['1.0', '1.1']
    assert provenance['folds'] == 'train'
    assert provenance['method'] == 'GenesisPretrainer'
    # 8 crops in batches of 2, 3 epochs
    assert (provenance['iterations'], provenance['epochs']) == (12, 3)


def test_files_that_are_no_backbone_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match='no such weights'):
        read_backbone(tmp_path / 'x')
    (tmp_path / 'cut').write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        read_backbone(tmp_path / 'cut')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other')
    with pytest.raises(CheckpointError, match='format None'):
        read_backbone(tmp_path / 'other')


def small() -> nn.Sequential:
    """20 convolutions: 40 tensors."""
    return nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(20)))


def test_transfer_needs_95_percent_of_the_tensors() -> None:
    model = small()
    tensors = {
        k: torch.full_like(v, 7) for k, v in small().state_dict().items()
    }

    enough = dict(list(tensors.items())[2:])  # 38 of 40
    assert 'fills 38 of 40' in fill_module(model, enough, 'file')
    assert model[1].bias.item() == 7 and model[0].bias.item() != 7
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    few = dict(list(tensors.items())[2:])
    few['3.weight'] = torch.zeros(1, 2, 1, 1, 1)
    with pytest.raises(
        CheckpointError,
        match=r'fills 37 of 40.*0\.weight, 0\.bias, 3\.weight \(another shape',
    ):
        fill_module(model, few, 'file')
    assert_same(dict(model.state_dict()), before)
    wrong = {f'backbone.{k}': v for k, v in tensors.items()}
    with pytest.raises(CheckpointError, match='fills 0 of 40.*and 20 more'):
        fill_module(model, wrong, 'file')


def test_weights_of_another_model_are_refused(
    trained: Path, tiny_config: Path
) -> None:
    with pytest.raises(CheckpointError, match='of the values'):
        run_test(
            tiny_config,
            trained,
            cfg_options={'model.backbone.channels': [8, 16, 16, 16, 16, 8]},
            out=trained / 'test',
        )


def test_gates_may_be_added_but_values_are_needed() -> None:
    """A large layer and small ones: few values in many tensors."""
    model = nn.Sequential(nn.Linear(30, 30), *(nn.PReLU() for _ in range(8)))
    large = {
        name: torch.full_like(value, 7)
        for name, value in model.state_dict().items()
        if name.startswith('0.')
    }

    with pytest.raises(CheckpointError, match=r'fills 2 of 10.*99\.1%'):
        fill_module(model, large, 'file')
    fill_module(model, large, 'file', min_tensors=0.0)
    assert model[0].bias[0].item() == 7
    del large['0.weight']
    with pytest.raises(CheckpointError, match='Missing: 0.weight, 1.weight'):
        fill_module(model, large, 'file', min_tensors=0.0)
