"""Runs over many scans: order, failures, names."""

from __future__ import annotations

import errno
import json
import os
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import scan_steps
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inference_record import ScanOutcome
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.private_names import digest
from lungdet.apis.scan_input import ScanInput
from tests.apis.scans import ONLY_JSON, run_on, states, write_scans
from tests.apis.test_inferencer import Threshold, threshold
from tests.schemas import assert_valid

__all__ = ['threshold']


def test_every_scan_gets_its_folder(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['b', 'a', 'c d'])

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    report = run.report().to_dict()
    assert_valid('infer_report', report)
    assert report['counts'] == dict(done=3, skipped=0, failed=0, untried=0)
    assert report['exit_code'] == 0
    assert [one['series_uid'] for one in report['scans']] == ['a', 'b', 'c d']
    for one, k in zip(report['scans'], (1, 0, 2)):
        folder = tmp_path / 'out' / one['folder']
        result = json.loads((folder / 'result.json').read_text())
        record = json.loads((folder / 'inference.json').read_text())
        assert_valid('result', result)
        assert_valid('inference', record)
        assert result['series_uid'] == one['series_uid']
        assert len(result['detections']) == one['detections'] == 1
        z = result['detections'][0]['center_world_xyz'][2]
        assert z == pytest.approx(2 * (10.5 + k), abs=1)
        steps = {'read', 'prepare', 'network', 'write'}
        assert {*record['seconds']} == {*result['run']['seconds']} == steps
    names = {path.name for path in (tmp_path / 'out').iterdir()}
    assert names == {one['folder'] for one in report['scans']}


def test_a_failed_scan_is_told_and_the_others_go_on(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the file, of the archive, and of the network."""
    write_scans(tmp_path / 'in', ['a', 'c', 'e'])
    (tmp_path / 'in' / 'b.mha').write_text('no image')
    (tmp_path / 'in' / 'd.zip').write_text('no archive')
    told: list[ScanOutcome] = []
    steps = []
    usual = Threshold.test_step

    def out_of_memory(self: Threshold, batch: dict) -> list[Any]:
        steps.append(batch)
        if len(steps) == 2:
            raise RuntimeError('no memory\nfor it')
        return usual(self, batch)

    monkeypatch.setattr(Threshold, 'test_step', out_of_memory)

    run = run_on(
        threshold, tmp_path / 'in', tmp_path / 'out', on_scan=told.append
    )

    d = f'zip-{digest("d.zip")}'
    assert states(run) == {
        'a': 'done',
        'b': 'failed',
        'c': 'failed',
        d: 'failed',
        'e': 'done',
    }
    assert told == run.outcomes and run.report().exit_code == 3
    reasons = {one.series_uid: one.reason or '' for one in told}
    assert reasons['c'] == 'RuntimeError: no memory for it'
    assert 'not a zip archive' in reasons[d]
    assert reasons['b'].startswith('b: ')
    assert not any(str(tmp_path) in text for text in reasons.values())
    # the outcomes do not keep the voxels of failed scans
    assert not any(
        kept.f_locals
        for one in told
        if one.error is not None
        for kept, _ in traceback.walk_tb(one.error.__traceback__)
    )
    again = run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    assert states(again) == {
        'a': 'skipped',
        'b': 'failed',
        'c': 'done',
        d: 'failed',
        'e': 'skipped',
    }
    assert_valid('infer_report', again.report().to_dict())


def test_no_usable_scan_is_bad_input(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'b.mha').write_text('no image')

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    assert run.report().exit_code == 2


def test_a_full_disk_ends_the_run_with_what_is_done(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_scans(tmp_path / 'in', ['a', 'b', 'c', 'd'])
    usual = scan_steps.export_result
    failed = threading.Event()

    def full(folder: Path, *given: Any, **more: Any) -> Any:
        if folder.name == 'b':
            threading.Timer(0.2, failed.set).start()
            raise OSError(errno.ENOSPC, 'No space left', str(folder))
        return usual(folder, *given, **more)

    monkeypatch.setattr(scan_steps, 'export_result', full)
    usual_detect = threshold.detect

    def detect(case: Any, on_windows: Any) -> Any:
        if case.record.series_uid == 'c':
            assert failed.wait(30)  # 'b' fails while the network is on 'c'
        on_windows(1, 1)
        return usual_detect(case, on_windows)

    threshold.detect = detect  # type: ignore[method-assign]

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    report = run.report()
    assert states(run) == {'a': 'done'}
    assert report.exit_code == 3 and report.untried == 3
    assert report.stopped and 'no space left' in report.stopped
    assert_valid('infer_report', report.to_dict())


def test_reading_network_and_writing_overlap_and_no_more(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the network works on k, k + 1 is read, and k + 2 is not."""
    names = [f's{k}' for k in range(6)]
    write_scans(tmp_path / 'in', names)
    begun: list[str] = []
    ready = {name: threading.Event() for name in names}
    usual = scan_steps.load_volume

    def load(path: Path, **given: Any) -> Any:
        name = path.stem
        begun.append(name)
        ready[name].set()
        return usual(path, **given)

    ahead: list[int] = []
    step = Threshold.test_step

    def wait_for_next(self: Threshold, batch: dict) -> list[Any]:
        k = len(ahead)
        if k + 1 < len(names):
            assert ready[names[k + 1]].wait(30), 'the next scan is not read'
        ahead.append(len(begun) - k)
        return step(self, batch)

    monkeypatch.setattr(scan_steps, 'load_volume', load)
    monkeypatch.setattr(Threshold, 'test_step', wait_for_next)

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    assert states(run) == dict.fromkeys(names, 'done')
    assert ahead == [2, 2, 2, 2, 2, 1]


def test_windows_are_reported_between_the_outcomes(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    told: list[tuple[int, int]] = []
    usual = threshold.detect

    def detect(case: Any, on_windows: Any) -> Any:
        on_windows(1, 2)
        return usual(case, on_windows)

    threshold.detect = detect  # type: ignore[method-assign]

    run_on(
        threshold,
        tmp_path / 'in',
        tmp_path / 'out',
        on_windows=lambda *windows: told.append(windows),
    )

    assert told == [(1, 2)]


@pytest.mark.skipif(os.name != 'posix', reason='of names on disk')
def test_names_that_would_leave_the_folder(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    scan = ScanInput('../../x', tmp_path / 'in' / 'a.mha')

    run = ScanRun(threshold, [scan], tmp_path / 'deep' / 'out', ONLY_JSON)
    run.run()

    (folder,) = (tmp_path / 'deep' / 'out').iterdir()
    assert folder.name.startswith('x-')
    result = json.loads((folder / 'result.json').read_text())
    assert result['series_uid'] == '../../x'
    assert {p.name for p in tmp_path.iterdir()} == {'in', 'deep'}
