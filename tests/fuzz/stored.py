"""Intact cases, results and records of runs for the fuzzer."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lungdet.apis.inference_record import (
    InferenceRecord,
    read_inference_record,
)
from lungdet.apis.scan_list import ScanList, read_scan_lists
from lungdet.evaluation import ScoredScan
from lungdet.io.case_json import case_to_json
from lungdet.io.case_store import (
    CaseStore,
    array_file,
    read_record,
    rebuild_index,
    record_file,
    write_case,
)
from lungdet.io.hard_negatives import HardNegative, HardNegativeBank
from lungdet.io.results import read_result, result_to_dict
from lungdet.phantom.written import (
    WrittenPhantom,
    note_written,
    written_before,
)
from lungdet.report.evaluation_files import read_run, read_scan, write_scan
from lungdet.report.training_curves import read_training_curve
from lungdet.structures import Annotation
from tests.fuzz.target import Reading, fingerprint
from tests.io.cases import make_case
from tests.io.results import complete_result

SETTINGS = {'seed': 3, 'size': 'small'}  # of a phantom


def store(folder: Path) -> None:
    for uid in ('1.2', '1.34'):
        record, arrays = make_case(uid)
        write_case(folder, record, arrays)
    rebuild_index(folder)


def index(folder: Path) -> Path:
    store(folder)
    return folder / 'index.json'


def index_values(path: Path) -> Any:
    records = CaseStore(path.parent).records.values()
    return {'cases': [case_to_json(record) for record in records]}


def case_json(folder: Path) -> Path:
    store(folder)
    return record_file(folder, '1.2')


def case_values(path: Path) -> Any:
    return case_to_json(read_record(path))


def array(folder: Path) -> Path:
    store(folder)
    return array_file(folder, '1.2', 'image')


def read_array(path: Path) -> Reading:
    return fingerprint(CaseStore(path.parent.parent).read('1.2', 'image')), ()


def scan_result(folder: Path) -> Path:
    from tests.evaluation.case_scene import scene

    scans, _ = scene()
    scan = replace(scans['a'], losses={'loss_cls': math.pi})
    write_scan(folder, scan)
    (path,) = folder.rglob('*.json')
    return path


def scan_values(path: Path) -> Any:
    scan = read_scan(path.parents[1], 'a')
    return {
        'result': result_to_dict(scan.result),
        'masks': scan.masks.to_dict(),
        'losses': dict(scan.losses),
    }


def result_json(folder: Path) -> Path:
    path = folder / 'result.json'
    path.write_text(json.dumps(result_to_dict(complete_result())))
    return path


def result_values(path: Path) -> Any:
    return result_to_dict(read_result(path))


def run(folder: Path) -> None:
    """Two scans' results, and the numbers of their evaluation."""
    froc = {'num_listed': 3, 'read_out': 'interp', 'grouped_by': None}
    (folder / 'froc.json').write_text(json.dumps({**froc, 'cpm': 0.625}))
    results = [complete_result(), replace(complete_result(), series_uid='2')]
    detections = [result_to_dict(result) for result in results]
    (folder / 'detections.json').write_text(json.dumps(detections))
    write_scan(folder, ScoredScan(results[1]))


def froc_json(folder: Path) -> Path:
    run(folder)
    return folder / 'froc.json'


def froc_values(path: Path) -> Any:
    stored = read_run(path.parent)
    values = vars(stored)
    return {k: values[k] for k in ('num_listed', 'read_out', 'cpm')} | {
        'grouped_by': stored.grouped_by
    }


def detections_json(folder: Path) -> Path:
    run(folder)
    return folder / 'detections.json'


def detections_values(path: Path) -> Any:
    scans = read_run(path.parent).scans.values()
    return [result_to_dict(scan.result) for scan in scans]


def inference_record(folder: Path) -> Path:
    InferenceRecord(
        series_uid='1.2',
        detections=2,
        best_score=0.75,
        caveats=('a doubt',),
        seconds={'read': 0.5},
        settings={'precision': 'fp32', 'selection': {'score_thr': 0.5}},
        path='a.mha',
        patient_id='P1',
        stored={'seg.dcm': 'http://host/dicom-web'},
    ).write(folder)
    return folder / 'inference.json'


def inference_values(path: Path) -> Any:
    record = read_inference_record(path.parent)
    return None if record is None else vars(record)


def read_inference(path: Path) -> Reading:
    values = inference_values(path)
    told = () if values else ('no complete result',)
    return fingerprint(values), told


def scan_list(folder: Path) -> Path:
    ScanList(('1.2', '1.3', '1.4'), 2).write(folder)
    (path,) = folder.iterdir()
    return path


def scan_list_values(path: Path) -> Any:
    """The list, of which ``lungdet merge`` asks what is missing."""
    (one,) = read_scan_lists(path.parent)
    one.missing({'1.2'})
    return {'scans': list(one.scans), 'num_parts': one.num_parts}


def negatives(folder: Path) -> Path:
    marks = (HardNegative((1.5, -2.0, 3.0), 4.5, 0.5),)
    return HardNegativeBank(4, {'1.2': marks, '1.3': ()}).write(folder)


def negatives_values(path: Path) -> Any:
    bank = HardNegativeBank.read(path)
    marks = {
        uid: [[*m.center_mm, m.diameter_mm, m.score] for m in of]
        for uid, of in bank.marks.items()
    }
    return {'epoch': bank.epoch, 'marks': marks}


def run_manifest(folder: Path) -> Path:
    from lungdet.engine.run_manifest import RunCost, RunManifest, RunStart

    RunManifest(
        {'config': 'a', 'seed': 1},
        RunStart('b', ('1.2',)),
        RunCost(12.5, 'CPU'),
        {'froc/cpm': 0.5},
    ).write(folder)
    return folder / 'manifest.json'


def run_values(path: Path) -> Any:
    from lungdet.engine.run_manifest import RunManifest

    read = RunManifest.read(path.parent)
    return None if read is None else asdict(read)


def read_run_manifest(path: Path) -> Reading:
    values = run_values(path)
    return fingerprint(values), () if values else ('no manifest',)


def curve(folder: Path) -> Path:
    path = folder / 'run' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    lines = [{'loss': 1 / k, 'step': k, 'lr': 0.1} for k in range(1, 9)]
    path.write_text('\n'.join(map(json.dumps, lines)) + '\n')
    return path


def curve_points(path: Path) -> list[tuple[float, float]]:
    line = read_training_curve(path.parents[2], 'loss')
    return list(zip(line.steps.tolist(), line.values.tolist()))


def curve_as_json(path: Path) -> bool:
    """Whether the last line of each step says the same."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    stated = {
        line['step']: line['loss']
        for line in lines
        if 'loss' in line and 'step' in line
    }
    return curve_points(path) == sorted(stated.items())


def phantom_note(folder: Path) -> Path:
    scan = folder / 'a.mhd'
    scan.write_text('a scan')
    rows = [Annotation((1.5, 2.5, -3.0), 6.0)]
    written = WrittenPhantom('a', rows, [])
    note_written(folder, written, [scan], SETTINGS)
    (path,) = folder.rglob('a.json')
    return path


def read_phantom_note(path: Path) -> Reading:
    written = written_before(path.parents[1], 'a', SETTINGS)
    if written is None:
        return 'none', ('it is written again',)
    return fingerprint(written), ()


def phantom_values(path: Path) -> Any:
    written = written_before(path.parents[1], 'a', SETTINGS)
    rows = [] if written is None else written.annotations
    return {'annotations': [vars(row) for row in rows]}
