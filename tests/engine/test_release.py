"""A release: read back as it was written, or refused."""

from __future__ import annotations

import configparser
import json
import zlib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.detector import load_detector
from lungdet.engine.release import (
    is_release,
    read_card,
    shipped_release,
    write_release,
)
from lungdet.errors import CheckpointError, DivergenceError
from lungdet.io.digests import sha256_of
from lungdet.registry import build_model
from tests.engine.runs import make_meta
from tests.schemas import assert_valid

WINDOW = [-1200, 600]  # HU
SMALL = {
    'type': 'NoduleNet',
    'data_preprocessor': {
        'type': 'CTDataPreprocessor',
        'window': [-1200, 600],
    },
    'backbone': {
        'type': 'FeatureNet',
        'stem_channels': 4,
        'channels': [4, 8, 8, 8, 8, 8],
        'blocks': [1, 1, 1, 1, 1, 1],
    },
    'rpn_head': {'type': 'RPN3DHead', 'in_channels': 8, 'feat_channels': 8},
    'test_cfg': {'window': [32, 32, 32], 'overlap': 16},
}
LIDC_PREFIX = '1.3.6.1.4.1.14519.5.2.1.6279.6001.'
TRAINED_ON = {
    '129007566048223160327836686225',
    '154677396354641150280013275227',
    '170706757615202213033480003264',
    '179049373636438705059720603192',
    '188265424231150847356515802868',
    '243094273518213382155770295147',
    '323541312620128092852212458228',
}
THRESHOLDS = {'0.25': 0.9, '1': 0.7, '4': 0.4}


def make_card(**values: Any) -> dict[str, Any]:
    return {
        'name': 'small',
        'version': '0.1.0',
        'checkpoint': make_meta(model=SMALL).to_dict(),
        'thresholds': THRESHOLDS,
        'held_out': {'series': ['b'], 'nodules': 2, 'sensitivities': {}},
        'licences': {'weights': 'Apache-2.0'},
        'attribution': 'Nobody.',
        'commands': ['python tools/train.py config.py'],
        **values,
    }


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(SMALL)


@pytest.fixture
def release(tmp_path: Path, network: torch.nn.Module) -> Path:
    path = tmp_path / 'small.safetensors'
    write_release(path, network.state_dict(), make_card())
    return path


def edit(release: Path, change: Callable[[dict], Any]) -> None:
    """Change the JSON, and its digest with it."""
    file = release.with_suffix('.json')
    card = json.loads(file.read_text())
    change(card)
    del card['digest']
    text = json.dumps(card, sort_keys=True)
    card['digest'] = zlib.crc32(text.encode())
    file.write_text(json.dumps(card))


def test_detector_of_a_release_is_the_network(
    release: Path, network: torch.nn.Module
) -> None:
    model, contract, info = load_detector(release)

    state = model.state_dict()
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(state[name], value), name
    assert contract.window == (-1200, 600)
    assert (info.name, info.version) == ('small', '0.1.0')
    assert info.weights_sha256 == sha256_of(release)
    assert model.test_cfg['score_thr'] == 0.7
    assert model.test_cfg['score_thrs'] == THRESHOLDS


def test_json_follows_its_schema(release: Path) -> None:
    card = json.loads(release.with_suffix('.json').read_text())

    assert_valid('release', card)
    assert card['weights']['bytes'] == release.stat().st_size
    assert is_release(release)


def test_tensors_are_as_they_were(release: Path, network: Any) -> None:
    stored = load_file(release)

    for name, value in network.state_dict().items():
        assert stored[name].dtype == value.dtype
        assert torch.equal(stored[name], value)


def test_tensors_that_were_changed_are_refused(release: Path) -> None:
    data = bytearray(release.read_bytes())
    data[-1] ^= 1
    release.write_bytes(data)

    with pytest.raises(CheckpointError) as error:
        read_checkpoint(release)

    assert str(error.value).startswith(f'{release}: its SHA-256 is not that')
    assert str(error.value).count('Give both files') == 1


def test_json_that_was_changed_is_refused(release: Path) -> None:
    file = release.with_suffix('.json')
    file.write_text(file.read_text().replace('-1200', '-1100'))

    with pytest.raises(CheckpointError, match='was changed'):
        read_checkpoint(release)


def test_tensors_of_another_network_are_refused(release: Path) -> None:
    """Before they are read, also where both digests were made to fit."""

    def lose_one(card: dict) -> None:
        card['tensors'].popitem()

    edit(release, lose_one)

    with pytest.raises(CheckpointError, match='are not those of small.json'):
        read_checkpoint(release)


def test_network_that_its_tensors_do_not_fill_is_refused(
    release: Path,
) -> None:
    def wider(card: dict) -> None:
        card['checkpoint']['model']['rpn_head']['feat_channels'] = 9

    edit(release, wider)

    with pytest.raises(CheckpointError, match='another shape'):
        load_detector(release)


def test_network_larger_than_the_file_is_not_built(release: Path) -> None:
    def huge(card: dict) -> None:
        card['checkpoint']['model']['rpn_head']['feat_channels'] = 10**6

    edit(release, huge)

    with pytest.raises(CheckpointError, match='larger than'):
        load_detector(release)


def test_a_release_imports_nothing(release: Path, tmp_path: Path) -> None:
    def name_code(card: dict) -> None:
        card['checkpoint']['model'] = {'type': 'subprocess.getoutput'}

    edit(release, name_code)

    with pytest.raises(CheckpointError, match='which is not registered'):
        load_detector(release)


@pytest.mark.parametrize('key', ['weights', 'checkpoint', 'thresholds'])
def test_json_without_a_part_is_refused(release: Path, key: str) -> None:
    edit(release, lambda card: card.pop(key))

    with pytest.raises(CheckpointError, match=f"small.json.*'{key}'"):
        read_checkpoint(release)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    save_file({'a': torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match='x.json is not beside it'):
        read_checkpoint(path)

    path.with_suffix('.json').write_text('{"schema": "mine/1"}')
    with pytest.raises(CheckpointError, match="schema 'mine/1'"):
        read_checkpoint(path)


def test_weights_that_are_not_finite_are_not_published(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'small.safetensors'

    with pytest.raises(DivergenceError):
        write_release(path, {'a': torch.tensor(torch.nan)}, make_card())

    assert not path.exists()


def test_shipped_detector_is_whole_small_and_credited() -> None:
    path = shipped_release()

    card = read_card(path)
    assert_valid('release', card)
    model, contract, info = load_detector(path)
    assert info.name == 'lungdet_s'
    assert (contract.window, contract.spacing_mm) == ((-1200, 600), 1.0)
    files = (path, path.with_suffix('.json'))
    assert sum(file.stat().st_size for file in files) <= 12e6
    assert '/tmp' not in str(card['commands'])
    scores = card['thresholds']
    assert 1 > scores['0.25'] >= scores['1'] >= scores['4'] > 0
    assert model.test_cfg['score_thr'] == scores['1']
    credit = card['attribution']
    assert 'doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0' in credit
    assert 'LUNA16' in credit and 'CC BY 4.0' in credit
    # neither the seven scans nor patients of inserted nodules are for tests
    patients = set(card['checkpoint']['train_patients'])
    numbers = ('0001', '0003', '0004', '0005', '0021', '0181', '0314')
    assert patients >= {f'LIDC-IDRI-{number}' for number in numbers}
    assert len(patients) > 500
    series = card['checkpoint']['train_series']
    lidc = [uid for uid in series if uid.startswith(LIDC_PREFIX)]
    assert {uid.removeprefix(LIDC_PREFIX) for uid in lidc} == TRAINED_ON


def test_shipped_files_are_package_data() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / 'setup.cfg')

    patterns = setup['options.package_data']['lungdet'].split()

    for file in shipped_release().parent.iterdir():
        assert any(fnmatch(f'weights/{file.name}', p) for p in patterns)
