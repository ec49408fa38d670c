"""Intact weights, exports and configs for the fuzzer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lungdet.deploy.export import CARD, SCHEMA, read_export
from lungdet.engine.backbone_file import (
    PROVENANCE,
    export_backbone,
    read_backbone,
)
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.engine.detector import load_detector
from lungdet.engine.ensemble import join_checkpoints
from lungdet.engine.release import read_release, write_release
from lungdet.io.digests import sha256_of
from lungdet.io.json_file import with_digest
from lungdet.registry import build_model
from tests.engine.runs import make_meta
from tests.engine.test_release import SMALL, make_card
from tests.fuzz.target import Reading, fingerprint

CONFIG = """
val_series = ['a', 'b']
train_cfg = dict(max_epochs=3, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.01))
"""


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {'conv.weight': torch.rand(8, 4, 3, 3), 'conv.bias': torch.rand(8)}


def checkpoint(folder: Path) -> Path:
    path = folder / 'epoch_1.pth'
    content = {'state_dict': tensors(), 'meta': make_meta().to_dict()}
    write_checkpoint(path, content)
    return path


def plain(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.tolist() for name, value in state.items()}


def read_weights(path: Path) -> Reading:
    content = read_checkpoint(path)
    return fingerprint(plain(content['state_dict']), content['meta']), ()


def pointer(folder: Path) -> Path:
    checkpoint(folder)
    (folder / 'last_checkpoint').write_text('epoch_1.pth')
    return folder / 'last_checkpoint'


def backbone(folder: Path) -> Path:
    provenance: dict[str, Any] = dict.fromkeys(PROVENANCE)
    provenance |= {'method': 'genesis', 'input_contract': {}, 'folds': {}}
    provenance |= {'train_series': [], 'train_patients': [], 'alarms': []}
    path = folder / 'backbone.safetensors'
    export_backbone(path, tensors(), provenance)
    return path


def read_exported(path: Path) -> Reading:
    state, provenance = read_backbone(path)
    return fingerprint(plain(state), sorted(provenance.items())), ()


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(SMALL)


def release(folder: Path) -> Path:
    path = folder / 'small.safetensors'
    write_release(path, network().state_dict(), make_card())
    return path


def release_card(folder: Path) -> Path:
    return release(folder).with_suffix('.json')


def read_detector(path: Path) -> Reading:
    """The detector of a release, from either of its files, or a checkpoint."""
    model, contract, info = load_detector(path)
    sums = {k: v.double().sum().item() for k, v in model.state_dict().items()}
    name = info.name, info.version, info.window, info.spacing_mm
    return fingerprint(sums, contract, name, dict(model.test_cfg)), ()


def card_values(path: Path) -> Any:
    read = read_release(path.with_suffix('.safetensors'))
    meta = {k: v for k, v in read['meta'].items() if k != 'model'}
    model = {k: v for k, v in read['meta']['model'].items() if k != 'test_cfg'}
    return {**read['release'], 'checkpoint': {**meta, 'model': model}}


def ensemble(folder: Path) -> Path:
    paths = []
    for seed in (1, 2):
        paths.append(folder / f'{seed}.pth')
        meta = make_meta(model=SMALL).to_dict()
        state = network(seed).state_dict()
        rest = {'optimizer': {}, 'param_schedulers': [], 'runtime': {}}
        write_checkpoint(
            paths[-1], {'meta': meta, 'state_dict': state, **rest}
        )
    write_checkpoint(folder / 'ensemble.pth', join_checkpoints(paths))
    return folder / 'ensemble.pth'


def read_ensemble(path: Path) -> Reading:
    model, contract, _ = load_detector(path)
    sums = {k: v.double().sum().item() for k, v in model.state_dict().items()}
    return fingerprint(sums, contract), ()


def export_card(folder: Path) -> Path:
    """The description of an export, beside a file that stands for a graph."""
    graph = folder / 'rpn.onnx'
    graph.write_bytes(bytes(range(256)))
    described = {
        'file': graph.name,
        'bytes': 256,
        'sha256': sha256_of(graph),
        'inputs': {'image': ['n', 1, 'd', 'h', 'w']},
        'outputs': {'scores': ['n', 3]},
    }
    card = {'schema': SCHEMA, 'graphs': {'rpn': described}, 'mask': None}
    (folder / CARD).write_text(json.dumps(with_digest(card)))
    return folder / CARD


def export_values(path: Path) -> Any:
    return read_export(path.parent)


def config(folder: Path) -> Path:
    path = folder / 'config.py'
    root = Path(__file__).resolve().parents[2]
    base = root / 'configs' / 'nodulenet_demo.py'
    path.write_text(f'_base_ = [{str(base)!r}]' + CONFIG)
    return path


def config_values(path: Path) -> Any:
    from lungdet.apis.config import load_config

    return load_config(path).to_dict()


def commands(folder: Path) -> Path:
    (folder / 'commands.txt').write_text('python a.py\npython b.py --x\n')
    return folder / 'commands.txt'


def read_commands(path: Path) -> list[str]:
    from lungdet.apis.publish import read_commands

    return read_commands(path)


def as_lines_of_text(path: Path) -> bool:
    text = path.read_bytes().decode()
    return read_commands(path) == text.splitlines()
