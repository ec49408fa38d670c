"""Intact tables, stores, weights and configs for the fuzzer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lungdet.io.case_store import (
    CaseStore,
    array_file,
    read_record,
    rebuild_index,
    record_file,
    write_case,
)
from lungdet.io.nodule_library import read_library, write_library
from lungdet.prepare.world_boxes import has_boxes, read_boxes
from tests.fuzz.target import Reading, fingerprint
from tests.io.cases import make_case
from tests.io.nodules import ball_nodule

NODULES = """seriesuid,coordX,coordY,coordZ,diameter_mm
1.2,1.5,-2.25,100,6.5
1.2,-40,30,90.125,12
1.3,5,6,7,4.25
"""
MARKS = NODULES.replace('diameter_mm', 'probability').replace('12\n', '.5\n')
MARKS = MARKS.replace('6.5', '0.9').replace('4.25', '0.125')
BOXES = 'seriesuid,x1,y1,z1,x2,y2,z2\n1.2,4,6,8,10,13,16\n1.3,1,2,3,5,6,7\n'
CONFIG = """
val_series = ['a', 'b']
train_cfg = dict(max_epochs=3, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.01))
"""


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    """A maker of one text file."""

    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def packed_file(name: str, text: str) -> Callable[[Path], Path]:
    """A maker of one gzip file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0))
        return folder / name

    return make


def library(folder: Path) -> Path:
    """A maker of a nodule library."""
    write_library(folder / 'nodules.npz', [ball_nodule('a'), ball_nodule('b')])
    return folder / 'nodules.npz'


def read_nodules(path: Path) -> Reading:
    """A reader of nodule libraries."""
    nodules = read_library(path)
    values = [
        (n.name, n.patient, n.spacing, n.site, dict(n.ratings), n.hu.sum())
        for n in nodules
    ]
    return fingerprint(values), ()


def table(name: str) -> Callable[[Path], Reading]:
    """A reader of ``lungdet.io.luna16``."""

    def read(path: Path) -> Reading:
        from lungdet.io import luna16

        content: Any = getattr(luna16, name)(path)
        if isinstance(content, dict):
            content = {
                uid: [
                    repr(getattr(v, 'tolist', lambda v=v: v)()) for v in rows
                ]
                for uid, rows in content.items()
            }
        return fingerprint(content), ()

    return read


def boxes(path: Path) -> Reading:
    if not has_boxes(path):
        return 'no boxes', ()
    return fingerprint(read_boxes(path)), ()


def store(folder: Path) -> None:
    for uid in ('1.2', '1.34'):
        record, arrays = make_case(uid)
        write_case(folder, record, arrays)
    rebuild_index(folder)


def index(folder: Path) -> Path:
    store(folder)
    return folder / 'index.json'


def read_index(path: Path) -> Reading:
    return fingerprint(list(CaseStore(path.parent).records.values())), ()


def case_json(folder: Path) -> Path:
    store(folder)
    return record_file(folder, '1.2')


def read_case_json(path: Path) -> Reading:
    return fingerprint(read_record(path)), ()


def array(folder: Path) -> Path:
    store(folder)
    return array_file(folder, '1.2', 'image')


def read_array(path: Path) -> Reading:
    return fingerprint(CaseStore(path.parent.parent).read('1.2', 'image')), ()


def scan_result(folder: Path) -> Path:
    import numpy as np

    from lungdet.evaluation import ScoredScan
    from lungdet.report.evaluation_files import write_scan
    from lungdet.structures import Detection, SeriesResult
    from tests.io.cases import GRID

    detection = Detection((1.0, 2.0, 3.0), 0.75, size_mm=(4.0, 5.0, 6.0))
    result = SeriesResult('1.2', [detection], GRID)
    write_scan(folder, ScoredScan(result, losses={'loss_cls': float(np.pi)}))
    (path,) = folder.rglob('*.json')
    return path


def read_scan_result(path: Path) -> Reading:
    from lungdet.report.evaluation_files import read_scan

    folder = next(p for p in path.parents if p.name in ('sound', 'tried'))
    scan = read_scan(folder, '1.2')
    return fingerprint(scan.result.detections, scan.losses, scan.masks), ()


def result_json(folder: Path) -> Path:
    from lungdet.io.results import result_to_dict
    from tests.io.results import complete_result

    path = folder / 'result.json'
    path.write_text(json.dumps(result_to_dict(complete_result())))
    return path


def read_result_json(path: Path) -> Reading:
    from lungdet.io.results import read_result

    return fingerprint(vars(read_result(path))), ()


def negatives(folder: Path) -> Path:
    from lungdet.io.hard_negatives import HardNegative, HardNegativeBank

    marks = (HardNegative((1.5, -2.0, 3.0), 4.5, 0.5),)
    return HardNegativeBank(4, {'1.2': marks, '1.3': ()}).write(folder)


def read_negatives(path: Path) -> Reading:
    from lungdet.io.hard_negatives import HardNegativeBank

    return fingerprint(HardNegativeBank.read(path)), ()


def manifest(folder: Path) -> Path:
    from lungdet.engine.run_manifest import RunManifest, RunStart

    RunManifest({'config': 'a', 'seed': 1}, RunStart('b', ('1.2',))).write(
        folder
    )
    (path,) = folder.iterdir()
    return path


def read_manifest(path: Path) -> Reading:
    from lungdet.engine.run_manifest import RunManifest

    return fingerprint(RunManifest.read(path.parent)), ()


def weights() -> dict[str, Any]:
    import torch

    torch.manual_seed(1)
    return {'conv.weight': torch.rand(8, 4, 3, 3), 'conv.bias': torch.rand(8)}


def checkpoint(folder: Path) -> Path:
    from lungdet.engine.checkpoint import write_checkpoint
    from tests.engine.runs import make_meta

    path = folder / 'epoch_1.pth'
    content = {
        'state_dict': weights(),
        'meta': make_meta().to_dict(),
    }
    write_checkpoint(path, content)
    return path


def read_weights(path: Path) -> Reading:
    from lungdet.engine.checkpoint import read_checkpoint

    content = read_checkpoint(path)
    tensors = {k: v.tolist() for k, v in content['state_dict'].items()}
    return fingerprint(tensors, content['meta']), ()


def pointer(folder: Path) -> Path:
    checkpoint(folder)
    (folder / 'last_checkpoint').write_text('epoch_1.pth')
    return folder / 'last_checkpoint'


def read_pointer(path: Path) -> Reading:
    return read_weights(path)


def backbone(folder: Path) -> Path:
    from lungdet.engine.backbone_file import PROVENANCE, export_backbone

    provenance: dict[str, Any] = dict.fromkeys(PROVENANCE)
    provenance |= {'method': 'genesis', 'input_contract': {}, 'folds': {}}
    provenance |= {'train_series': [], 'train_patients': [], 'alarms': []}
    path = folder / 'backbone.safetensors'
    export_backbone(path, weights(), provenance)
    return path


def read_exported(path: Path) -> Reading:
    from lungdet.engine.backbone_file import read_backbone

    tensors, provenance = read_backbone(path)
    plain = {k: v.tolist() for k, v in tensors.items()}
    return fingerprint(plain, json.dumps(provenance, sort_keys=True)), ()


def config(folder: Path) -> Path:
    path = folder / 'config.py'
    root = Path(__file__).resolve().parents[2]
    base = root / 'configs' / 'nodulenet_demo.py'
    path.write_text(f'_base_ = [{str(base)!r}]' + CONFIG)
    return path


def read_config(path: Path) -> Reading:
    from lungdet.apis.config import load_config

    return fingerprint(load_config(path).to_dict()), ()


def curve(folder: Path) -> Path:
    path = folder / 'run' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    lines = [{'loss': 1 / k, 'step': k, 'lr': 0.1} for k in range(1, 9)]
    path.write_text('\n'.join(map(json.dumps, lines)) + '\n')
    return path


def read_curve(path: Path) -> Reading:
    from lungdet.report.training_curves import read_training_curve

    line = read_training_curve(path.parents[2], 'loss')
    return fingerprint(line.steps, line.values), ()
