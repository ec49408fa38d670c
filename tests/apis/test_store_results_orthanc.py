"""There and back again, with a real Orthanc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.apis.store_results import STORED_FORMATS
from lungdet.cli import main
from lungdet.io.results import read_result
from tests.dicom_series import labelled, write_slice
from tests.dicomweb.orthanc import fetch, orthanc, send
from tests.dicomweb.phantom_series import (
    PATIENT,
    SERIES,
    STUDY,
    write_phantom_series,
)

hd = pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")
pytestmark = pytest.mark.slow
ADDRESS = f'{{}}/dicom-web/studies/{STUDY}'
THICK = generate_uid(entropy_srcs=['thick'])


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom's slices, and a thicker series of the same examination."""
    scratch = tmp_path_factory.mktemp('phantom')
    write_phantom_series(scratch / 'ct', scratch / 'luna16')
    (scratch / 'thick').mkdir()
    tags = {**PATIENT, 'SliceThickness': 5.0, 'SeriesDescription': 'thick'}
    for k in range(9):
        plane = np.full((16, 24), -800.0)
        edit = labelled(**tags)
        write_slice(scratch / 'thick', k, plane, series=THICK, edit=edit)
    return scratch / 'ct'


@pytest.fixture(scope='module')
def server(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with orthanc(tmp_path_factory.mktemp('orthanc')) as address:
        send(address, folder)
        send(address, folder.parent / 'thick')
        yield address


@pytest.fixture(scope='module')
def out(
    folder: Path, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Results of the examination on the server, and of its folder."""
    out = tmp_path_factory.mktemp('out')
    inferencer = NoduleInferencer(device='cpu', precision='fp32')
    for name, where in (
        ('server', ADDRESS.format(server)),
        ('folder', str(folder)),
    ):
        store = name == 'server'
        formats = ('json', *STORED_FORMATS)
        scans, _ = find_scans([where], out / name)
        options = InferOptions(formats, store=store)
        run = ScanRun(inferencer, scans, out / name, options)
        run.run()
        (outcome,) = run.outcomes
        assert outcome.state == 'done', outcome.reason
        assert outcome.series_uid == SERIES
    return out


def instances(server: str, modality: str) -> list[Any]:
    """What the server has of one kind, by its own interface."""
    every = json.loads(fetch(f'{server}/instances'))
    files = [fetch(f'{server}/instances/{one}/file') for one in every]
    data = [dcmread(BytesIO(content)) for content in files]
    return [one for one in data if one.Modality == modality]


def test_marks_are_those_of_the_same_folder(out: Path, server: str) -> None:
    remote, local = (
        read_result(out / name / SERIES / 'result.json')
        for name in ('server', 'folder')
    )

    assert (
        remote.source == f'{server}/dicom-web/studies/{STUDY}/series/{SERIES}'
    )
    assert remote.detections == local.detections and local.detections
    assert remote.geometry.is_close(local.geometry)
    assert any(THICK in text for text in remote.caveats)


def test_seg_and_sr_read_back_identical(out: Path, server: str) -> None:
    folder = out / 'server' / SERIES
    (seg,), (report,) = instances(server, 'SEG'), instances(server, 'SR')

    written = dcmread(folder / 'seg.dcm')
    assert seg.PixelData == written.PixelData and any(seg.PixelData)
    assert seg == written
    back, there = (
        hd.sr.Comprehensive3DSR.from_dataset(one)
        for one in (report, dcmread(folder / 'sr.dcm'))
    )
    measured = [
        [
            (m.name, m.value, m.unit)
            for group in one.content.get_volumetric_roi_measurement_groups()
            for m in group.get_measurements()
        ]
        for one in (back, there)
    ]
    assert measured[0] == measured[1] and measured[0]
    assert report == dcmread(folder / 'sr.dcm')
    assert {one.StudyInstanceUID for one in (seg, report)} == {STUDY}


def test_slices_are_fetched_as_they_were_sent(
    folder: Path, server: str, tmp_path: Path
) -> None:
    (scan,), _ = find_scans([ADDRESS.format(server)], tmp_path)

    with scan.opened(tmp_path) as opened:
        fetched = {
            one.SOPInstanceUID: one.PixelData
            for one in map(dcmread, opened.iterdir())
        }

    sent = [dcmread(path) for path in folder.iterdir()]
    assert fetched == {one.SOPInstanceUID: one.PixelData for one in sent}


def test_storing_again_changes_nothing(out: Path, server: str) -> None:
    """As after a run that was cut before it noted what was stored."""
    folder = out / 'server' / SERIES
    record = json.loads((folder / 'inference.json').read_text())
    (folder / 'inference.json').write_text(
        json.dumps({**record, 'stored': {}})
    )
    scans, _ = find_scans([ADDRESS.format(server)], out / 'server')
    inferencer = NoduleInferencer(device='cpu', precision='fp32')
    options = InferOptions(('json', *STORED_FORMATS), store=True)

    run = ScanRun(inferencer, scans, out / 'server', options)
    run.run()

    assert [one.state for one in run.outcomes] == ['skipped']
    assert json.loads((folder / 'inference.json').read_text()) == record
    assert [len(instances(server, kind)) for kind in ('SEG', 'SR')] == [1, 1]


def test_errors_of_a_real_server(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ['--list-series']
    for path, reason in (
        ('dicom-web/studies/1.2.3', 'no such examination'),
        (f'dicom-web/studies/{STUDY}/series/1.2', 'no such series'),
        ('nothing/studies/1.2', 'nothing at this address (404)'),
    ):
        assert main(['infer', f'{server}/{path}', *words]) == 0
        table = ''.join(capsys.readouterr().out.split())
        assert ''.join(reason.split()) in table
