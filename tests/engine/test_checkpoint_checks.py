"""Files of weights that are damaged, absurd or not finite."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine import export_backbone, read_backbone
from lungdet.engine.checkpoint import (
    newest_checkpoint,
    read_checkpoint,
    resolve_checkpoint,
    write_checkpoint,
)
from lungdet.engine.detector import load_detector
from lungdet.errors import CheckpointError, DivergenceError
from tests.engine.runs import NO_VALIDATION, detector
from tests.fuzz.corpus import at, bit_in

Change = Callable[[dict[str, Any]], None]


def changed(trained: Path, target: Path, change: Change) -> Path:
    """A copy of a training's checkpoint with something else in it."""
    checkpoint = read_checkpoint(trained)
    change(checkpoint)
    torch.save(checkpoint, target)
    return target


def set_nan(checkpoint: dict[str, Any]) -> None:
    name = next(k for k in checkpoint['state_dict'] if 'roi_head' in k)
    checkpoint['state_dict'][name].view(-1)[-1] = torch.nan


def set_infinite_buffer(checkpoint: dict[str, Any]) -> None:
    state = checkpoint['state_dict']
    state[next(k for k in state if 'running_var' in k)][0] = torch.inf


@pytest.mark.parametrize('change', [set_nan, set_infinite_buffer])
def test_weights_that_are_not_finite_are_refused_everywhere(
    trained: Path, tiny_config: Path, tmp_path: Path, change: Change
) -> None:
    file = changed(trained, tmp_path / 'nan.pth', change)

    def resume() -> None:
        shutil.copy(file, trained / 'epoch_1.pth')
        train(tiny_config, work_dir=trained, resume='auto')

    for use in (
        lambda: load_detector(file),
        lambda: run_test(tiny_config, file, out=tmp_path / 'out'),
        lambda: train(
            tiny_config,
            work_dir=tmp_path / 'w',
            cfg_options={'load_from': str(file)},
        ),
        resume,
    ):
        with pytest.raises(CheckpointError, match='not finite'):
            use()


def test_weights_that_are_not_finite_are_not_written(
    trained: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(trained)
    set_nan(checkpoint)
    tensors = checkpoint['state_dict']

    with pytest.raises(DivergenceError, match='not finite'):
        write_checkpoint(tmp_path / 'x.pth', checkpoint)
    with pytest.raises(DivergenceError, match='not finite'):
        export_backbone(tmp_path / 'x.safetensors', tensors, {})

    assert not list(tmp_path.glob('*x.*'))


def test_backbone_that_is_not_finite_starts_nothing(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    content = bytearray(weights.read_bytes())
    content[-4:] = b'\x00\x00\xc0\x7f'  # a float32 NaN, little-endian
    broken = tmp_path / 'nan.safetensors'
    broken.write_bytes(content)

    with pytest.raises(CheckpointError, match='not finite'):
        read_backbone(broken)
    with pytest.raises(CheckpointError, match='not finite'):
        train(detector(tiny_config, broken), work_dir=tmp_path / 'w')


def without(prefix: str) -> Change:
    def change(checkpoint: dict[str, Any]) -> None:
        state = checkpoint['state_dict']
        for name in [k for k in state if k.startswith(prefix)]:
            del state[name]

    return change


@pytest.mark.parametrize(
    'prefix', ['rpn_head.', 'roi_head.mask_head.', 'rpn_head.logits.bias']
)
def test_a_test_meets_no_random_weights(
    trained: Path, tiny_config: Path, tmp_path: Path, prefix: str
) -> None:
    file = changed(trained, tmp_path / 'part.pth', without(prefix))

    with pytest.raises(CheckpointError, match=prefix):
        run_test(tiny_config, file, out=tmp_path / 'out')
    with pytest.raises(CheckpointError, match=prefix):
        load_detector(file)


def drop(key: str) -> Change:
    return lambda c: c['meta'].pop(key)


def put(key: str, value: Any) -> Change:
    return lambda c: c['meta'].__setitem__(key, value)


def more_tensors(checkpoint: dict[str, Any]) -> None:
    checkpoint['state_dict']['rpn_head.more'] = torch.zeros(3)


def misshaped(checkpoint: dict[str, Any]) -> None:
    state = checkpoint['state_dict']
    state['rpn_head.logits.bias'] = state['rpn_head.logits.bias'][None]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (drop('model'), 'has no meta.model'),
        (drop('input_contract'), 'has no meta.input_contract'),
        (drop('epoch_in_progress'), 'has no meta.epoch_in_progress'),
        (put('epoch_in_progress', 'many'), 'epoch_in_progress is a str, not'),
        (put('train_series', 7), 'train_series is a int, not a list'),
        (put('input_contract', {}), 'input_contract: cannot be used'),
        (
            put('input_contract', {'window': [600, -1200]}),
            'input_contract: cannot be used',
        ),
        (put('model', {'type': 'NoduleNet'}), 'cannot be built'),
        (lambda c: c.pop('state_dict'), 'has no state_dict'),
        (lambda c: c.__setitem__('state_dict', []), 'state_dict is a list'),
        (lambda c: c['state_dict'].__setitem__('x', 3), "'x'. is a int"),
        (more_tensors, 'own network does not have, such as rpn_head.more'),
        (misshaped, 'rpn_head.logits.bias .another shape'),
    ],
)
def test_damaged_checkpoints_say_what_is_wrong(
    trained: Path, tmp_path: Path, change: Change, message: str
) -> None:
    file = changed(trained, tmp_path / 'damaged.pth', change)

    with pytest.raises(CheckpointError, match=message):
        load_detector(file)


def absurd(**values: Any) -> Change:
    return lambda c: c['meta']['model']['backbone'].update(values)


@pytest.mark.parametrize(
    'change',
    [
        absurd(blocks=[10**6] * 6),
        absurd(channels=[4, 10**6, 10**6, 8, 8, 8]),
        absurd(stem_channels=10**9),
    ],
)
def test_network_larger_than_its_weights_takes_no_memory(
    trained: Path, tmp_path: Path, change: Change
) -> None:
    file = changed(trained, tmp_path / 'absurd.pth', change)

    with pytest.raises(CheckpointError, match='larger than|cannot be built'):
        load_detector(file)


def test_parts_that_unpack_to_more_than_the_file_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    bomb = tmp_path / 'bomb.pth'
    with (
        zipfile.ZipFile(resolve_checkpoint(trained)) as whole,
        zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part))
    with pytest.raises(CheckpointError, match='parts are compressed'):
        read_checkpoint(bomb)

    def repeat(checkpoint: dict[str, Any]) -> None:
        checkpoint['state_dict']['x'] = torch.zeros(1).expand(10**12)

    wide = changed(trained, tmp_path / 'wide.pth', repeat)
    with pytest.raises(CheckpointError, match='has only 4 bytes'):
        read_checkpoint(wide)
    deep: list = []
    for _ in range(40):  # two million million values in a few bytes
        deep = [deep, deep]
    torch.save({'meta': read_checkpoint(trained)['meta'], 'x': deep}, bomb)
    with pytest.raises(CheckpointError, match='more than 1,000,000 values'):
        read_checkpoint(bomb)


@pytest.mark.parametrize(
    'pointer', [b'\xff\xfe\x00binary', b'', b'x' * 5000, b'../other.pth', None]
)
def test_pointer_that_names_nothing_here_gives_the_newest(
    trained: Path, pointer: bytes | None
) -> None:
    if pointer is None:
        (trained / 'last_checkpoint').unlink()
    else:
        (trained / 'last_checkpoint').write_bytes(pointer)

    with pytest.warns(UserWarning, match=r'taking epoch_1\.pth'):
        assert resolve_checkpoint(trained).name == 'epoch_1.pth'


def test_cut_newest_checkpoint_names_the_older_whole_one(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    whole = (trained / 'epoch_1.pth').read_bytes()
    (trained / 'epoch_2.pth').write_bytes(whole[:-100])
    (trained / 'last_checkpoint').write_text('epoch_2.pth')
    message = r'epoch_2\.pth: cannot be read.*epoch_1\.pth is older and whole'

    with pytest.raises(CheckpointError, match=message):
        newest_checkpoint(trained)
    for use in (
        lambda: run_test(tiny_config, trained, out=tmp_path / 'out'),
        lambda: load_detector(trained / 'last_checkpoint'),
        lambda: train(tiny_config, work_dir=trained, resume='auto'),
    ):
        with pytest.raises(CheckpointError, match=message):
            use()
    # what the message says works
    train(
        tiny_config,
        work_dir=trained,
        resume=trained / 'epoch_1.pth',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )


def test_provenance_that_cannot_be_read_is_refused(
    weights: Path, tmp_path: Path
) -> None:
    tensors, provenance = read_backbone(weights)
    export_backbone(tmp_path / 'x', tensors, {'method': 'x'})
    with pytest.raises(CheckpointError, match='lacks input_contract'):
        read_backbone(tmp_path / 'x')
    export_backbone(tmp_path / 'x', tensors, [*provenance])  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match='provenance lacks keys'):
        read_backbone(tmp_path / 'x')


def test_a_bit_in_a_weight_is_noticed(trained: Path) -> None:
    file = trained / 'epoch_1.pth'
    file.write_bytes(bit_in('data/')(file.read_bytes()))

    for use in (read_checkpoint, load_detector):
        with pytest.raises(CheckpointError, match=r'checksum of .*data/\d+ d'):
            use(file)


@pytest.mark.parametrize(
    'change',
    [
        at(30, 'B', 255),  # no UTF-8 in the name of a part
        at(-6, '<I', 10**6),  # its list lies behind the end of the file
    ],
)
def test_a_damaged_name_or_place_of_a_part_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / 'a.pth'
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('ä', b'weights')
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(CheckpointError, match=r'a\.pth: the checksum of a'):
        read_checkpoint(file)
