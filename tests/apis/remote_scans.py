"""Two series of one examination, in a folder and on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from tests.apis.scans import write_patient
from tests.apis.test_inferencer import threshold
from tests.dicomweb.conftest import server
from tests.dicomweb.fake_server import FakeServer

__all__ = ['filled', 'folder', 'hasty', 'server', 'threshold']
THIN, THICK, STUDY = '1.5.1', '1.5.2', '1.5'
LATER, NEXT = '1.6.1', '1.6'  # of another examination
OPTIONS = InferOptions(formats=('json', 'luna16'))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before another try."""
    monkeypatch.setattr('lungdet.dicomweb.server.sleep', lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One examination, whose series differ in their thickness."""
    write(tmp_path / 'in', THIN, STUDY, 2.0)
    write(tmp_path / 'in', THICK, STUDY, 2.5)
    return tmp_path / 'in'


def write(folder: Path, uid: str, study: str, step: float) -> None:
    write_patient(
        folder / uid, uid, StudyInstanceUID=study, SliceThickness=step
    )


@pytest.fixture
def filled(server: FakeServer, folder: Path) -> FakeServer:
    server.add(folder)
    return server


def run_on(
    inferencer: NoduleInferencer,
    inputs: list[Any],
    out: Path,
    options: InferOptions = OPTIONS,
    **given: Any,
) -> ScanRun:
    scans, _ = find_scans(inputs, out, **given)
    run = ScanRun(inferencer, scans, out, options)
    run.run()
    return run


def states(run: ScanRun) -> dict[str, str]:
    return {outcome.series_uid: outcome.state for outcome in run.outcomes}
