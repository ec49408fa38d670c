"""What calls what on the way of a scan: each call goes down the imports.

A return is a call of a module that imports the caller's: such as a function
that was passed down, or a method that a base class leaves to its subclasses.
docs/architecture.md has their number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from lungdet.apis import load_config
from lungdet.engine.metrics import FROCMetric
from lungdet.io.case_store import CaseStore
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from lungdet.registry import DATASETS, build_model
from lungdet.seeds import Key
from tests.test_architecture import ROOT, imported_names

CONFIG = ROOT.parent / 'configs' / 'nodulenet_demo_qam.py'
SUBCLASSES = 'lungdet.datasets.transforms.base'
RETURNS: dict[str, set[tuple[str, str]]] = {
    # what a new case makes superfluous is deleted by a function passed down
    'scan to case': {('lungdet.io.atomic', 'lungdet.io.case_store')},
    # methods of subclasses
    'case to batch': {
        ('lungdet.datasets.case_dataset', 'lungdet.datasets.luna16_dataset'),
        (SUBCLASSES, 'lungdet.datasets.transforms.spatial'),
        (SUBCLASSES, 'lungdet.datasets.transforms.loading'),
        (SUBCLASSES, 'lungdet.datasets.transforms.intensity'),
        (SUBCLASSES, 'lungdet.datasets.transforms.packing'),
    },
    'batch to losses': set(),
    'detections to table': set(),
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {str(path): module_of(path) for path in ROOT.rglob('*.py')}


@cache
def imports(module: str) -> frozenset[str]:
    """Modules that a module imports, or that these import."""
    path = next(Path(p) for p, name in MODULES.items() if name == module)
    names = set(imported_names(path)) & set(MODULES.values()) - {module}
    return frozenset(names).union(*map(imports, names))


def arrows(work: Callable[[], Any]) -> set[tuple[str, str]]:
    """Pairs of caller and called module."""
    calls: set[tuple[str, str]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> None:
        called = MODULES.get(frame.f_code.co_filename)
        if event != 'call' or called is None:
            return
        before = frame.f_back
        while before and before.f_code.co_filename not in MODULES:
            before = before.f_back
        # not a lambda or generator, whose code runs where it is asked for
        if before and not frame.f_code.co_name.startswith('<'):
            calls.add((MODULES[before.f_code.co_filename], called))

    sys.setprofile(trace)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {(caller, called) for caller, called in calls if caller != called}


@pytest.fixture(scope='module')
def walks(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, set[tuple[str, str]]]:
    """The arrows of each walk, on two small phantoms."""
    folder = tmp_path_factory.mktemp('walks')
    scans, cases = folder / 'scans', folder / 'cases'
    write_luna16_phantoms(scans, scans=2, size='small', progress=False)
    made = {
        'scan to case': arrows(
            lambda: prepare_luna16(scans, cases, progress=False)
        )
    }
    folds = 'train_dataloader.dataset'
    config = load_config(
        CONFIG,
        {
            'data_root': str(cases),
            f'{folds}.test_subsets': (1,),
            f'{folds}.val_subsets': (),
        },
    )
    data = DATASETS.build(config.train_dataloader.dataset)
    samples: list[dict] = []
    made['case to batch'] = arrows(
        lambda: samples.extend(data[Key(0, 0, k)] for k in range(2))
    )
    model = build_model(config.model)
    model.set_epoch(config.train_cfg.max_epochs)

    def losses() -> None:
        batch = model.data_preprocessor(pseudo_collate(samples), True)
        assert len(model(**batch, mode='loss')) > 4

    made['batch to losses'] = arrows(losses)
    made['detections to table'] = arrows(
        lambda: tabulate(CaseStore(cases), folder / 'out')
    )
    return made


def tabulate(store: CaseStore, out: Path) -> None:
    corners = torch.arange(3.0)[:, None] * 8 + 10
    scores = torch.tensor([0.9, 0.5, 0.2])
    detections = InstanceData(
        bboxes=torch.cat([corners.expand(3, 3), corners.expand(3, 3) + 9], 1),
        scores=scores,
        rpn_scores=scores,
        rcnn_scores=scores,
    )
    metric = FROCMetric(out, bootstrap=20)
    uids = list(store.records)
    metric.dataset_meta = {'data_root': str(store.root), 'series_uids': uids}
    samples = [
        {
            'series_uid': uid,
            'pred_instances': detections,
            'affine': store.records[uid].geometry.affine,
        }
        for uid in uids
    ]
    metric.process(None, samples)
    assert metric.evaluate(len(uids))


@pytest.mark.parametrize('walk', RETURNS)
def test_calls_go_down(
    walk: str, walks: dict[str, set[tuple[str, str]]]
) -> None:
    calls = walks[walk]

    assert len(calls) > 20
    returns = {(a, b) for a, b in calls if a in imports(b)}
    assert returns == RETURNS[walk]


def test_the_documented_numbers() -> None:
    page = (ROOT.parent / 'docs' / 'architecture.md').read_text('utf-8')

    for walk, returns in RETURNS.items():
        assert f'| {walk} | {len(returns)} ' in page
