"""Examinations of a server go the way of a folder."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans, list_scans
from lungdet.cli.infer_output import series_table
from lungdet.errors import ConfigError, SeriesError
from tests.apis.remote_scans import (
    LATER,
    NEXT,
    OPTIONS,
    STUDY,
    THICK,
    THIN,
    filled,
    folder,
    hasty,
    run_on,
    server,
    states,
    threshold,
    write,
)
from tests.apis.scans import TEXT
from tests.dicomweb.fake_server import FakeServer, Handler, cut
from tests.schemas import assert_valid

__all__ = ['filled', 'folder', 'hasty', 'server', 'threshold']


def test_series_are_chosen_as_in_a_folder(
    filled: FakeServer, folder: Path, tmp_path: Path
) -> None:
    (remote,), _ = find_scans([filled.of(STUDY)], tmp_path)
    (local,), _ = find_scans([folder], tmp_path)
    (named,), _ = find_scans([filled.of(STUDY, THICK)], tmp_path)
    (asked,), _ = find_scans([filled.of(STUDY)], tmp_path, series=[THICK])

    for name in ('uid', 'slices', 'thickness', 'description', 'caveats'):
        assert getattr(remote, name) == getattr(local, name)
    assert named.uid == asked.uid == THICK and not named.caveats
    with pytest.raises(SeriesError, match='no series 1.5.3'):
        find_scans([filled.of(STUDY)], tmp_path, series=['1.5.3'])
    table = series_table(list_scans([filled.of(STUDY)], tmp_path)[0])
    assert TEXT in table and filled.of(STUDY, THICK) in table


def test_series_that_addresses_name_are_all_used(
    filled: FakeServer, tmp_path: Path
) -> None:
    inputs = [filled.of(STUDY, uid) for uid in (THICK, THIN)]

    scans, _ = find_scans(inputs, tmp_path)
    beside, _ = find_scans([filled.of(STUDY), inputs[0]], tmp_path)

    for every in (scans, beside):
        assert [scan.uid for scan in every] == [THIN, THICK]
        assert not any(scan.caveats for scan in every)


def test_marks_are_those_of_the_folder(
    threshold: NoduleInferencer,
    filled: FakeServer,
    folder: Path,
    tmp_path: Path,
) -> None:
    local = run_on(threshold, [folder], tmp_path / 'local')
    run = run_on(threshold, [filled.of(STUDY)], tmp_path / 'out')

    assert states(run) == states(local) == {THIN: 'done'}
    a, b = (
        json.loads((tmp_path / f'{name}/{THIN}/result.json').read_text())
        for name in ('local', 'out')
    )
    assert a['detections'] == b['detections'] and b['detections']
    assert a['source'] is None and b['source'] == filled.of(STUDY, THIN)
    assert_valid('result', b)
    left = {p.name for p in (tmp_path / 'out').iterdir()}
    assert left == {THIN}


def test_who_the_patient_is_stays_out(
    threshold: NoduleInferencer,
    filled: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('LUNGDET_DICOMWEB_TOKEN', 'SECRET')

    run = run_on(threshold, [filled.of(STUDY)], tmp_path / 'out')

    texts = [json.dumps(run.report().to_dict())]
    texts += [p.read_text() for p in (tmp_path / 'out').glob('*/*.*')]
    for text in texts:
        for word in ('DOE', 'MRN', 'CHEST', 'SECRET'):
            assert word not in text
    assert {h['Authorization'] for *_, h in filled.asked} == {'Bearer SECRET'}


def test_an_address_that_fails_is_a_scan_that_fails(
    threshold: NoduleInferencer,
    filled: FakeServer,
    folder: Path,
    tmp_path: Path,
) -> None:
    """When it is listed, and when it is fetched; the others go on."""
    write(tmp_path / 'more', LATER, NEXT, 2.0)
    filled.add(tmp_path / 'more')

    scans, _ = find_scans(
        [filled.of('1.8'), filled.of(NEXT), folder / THIN], tmp_path / 'out'
    )
    filled.faults = {f'/series/{LATER}': [cut] * 3}
    run = ScanRun(threshold, scans, tmp_path / 'out', OPTIONS)
    run.run()

    assert states(run) == {'1.8': 'failed', THIN: 'done', LATER: 'failed'}
    reasons = {one.series_uid: one.reason or '' for one in run.outcomes}
    assert 'no such examination' in reasons['1.8']
    assert 'ends before its last boundary' in reasons[LATER]
    assert run.report().exit_code == 3


def test_a_list_names_addresses(
    threshold: NoduleInferencer, filled: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / 'scans.csv'
    path.write_text(
        f'path,seriesuid\n{filled.of(STUDY)},{THICK}\n{filled.of("1.8")},\n'
    )

    run = run_on(threshold, [path], tmp_path / 'out')

    assert states(run) == {THICK: 'done', '1.8': 'failed'}


def test_what_is_done_is_not_fetched_again(
    threshold: NoduleInferencer, filled: FakeServer, tmp_path: Path
) -> None:
    inputs = [filled.of(STUDY, THIN)]
    run_on(threshold, inputs, tmp_path / 'out')
    before = len(filled.asked)

    run = run_on(threshold, inputs, tmp_path / 'out')

    assert states(run) == {THIN: 'skipped'}
    asked = [path.partition('?')[0] for _, path, _ in filled.asked[before:]]
    assert all(path.endswith(('/series', '/instances')) for path in asked)
    uid = next(h.SOPInstanceUID for h in filled.headers())
    filled.files.pop(uid)
    with pytest.raises(ConfigError, match='a result of another scan'):
        run_on(threshold, inputs, tmp_path / 'out')


def test_fetching_does_not_outlast_an_interrupt(
    threshold: NoduleInferencer, filled: FakeServer, tmp_path: Path
) -> None:
    """Ctrl-C while the network works and a server sends without end."""
    sending, ended = threading.Event(), threading.Event()

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        kind = 'multipart/related; boundary=b'
        handler.send_header('Content-Type', kind)
        handler.end_headers()
        try:
            handler.wfile.write(b'--b\r\n\r\n')
            while not ended.wait(0.01):
                handler.wfile.write(b'x')
                sending.set()
        except OSError:
            handler.close_connection = True

    write(tmp_path / 'more', LATER, NEXT, 2.0)
    filled.add(tmp_path / 'more')
    inputs = [filled.of(STUDY), filled.of(NEXT)]
    scans, _ = find_scans(inputs, tmp_path / 'out')
    filled.faults = {f'/series/{LATER}': [endless] * 3}

    def interrupted(*_: Any) -> None:
        assert sending.wait(30)
        raise KeyboardInterrupt

    threshold.detect = interrupted  # type: ignore[method-assign]
    run = ScanRun(threshold, scans, tmp_path / 'out', OPTIONS)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.run()
    finally:
        ended.set()

    assert run.report().stopped == 'interrupted'
    assert not [*(tmp_path / 'out').glob('.tmp-*')]
