"""Runs over many scans: order, failures, restarts, names."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from lungdet.apis import scan_steps
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inference_record import ScanOutcome
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.private_names import digest
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.errors import ConfigError
from lungdet.evaluation import Selection
from lungdet.geometry import Geometry
from lungdet.io.image import read_image, write_image
from tests.apis.test_inferencer import Threshold, threshold
from tests.dicom_series import labelled, write_series
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


def files_of(out: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(out)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
        )
        for path in out.rglob('*')
        if path.is_file()
    }


class Interrupted(Threshold):
    """Ctrl-C in the middle of the second scan."""

    def __init__(self) -> None:
        self.steps = 0

    def test_step(self, batch: dict) -> list[Any]:
        self.steps += 1
        if self.steps == 2:
            raise KeyboardInterrupt
        return super().test_step(batch)


def test_an_interrupted_run_continues(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a', 'b', 'c'])
    scans, _ = find_scans([tmp_path / 'in'], tmp_path / 'out')
    threshold.model = Interrupted()
    first = ScanRun(threshold, scans, tmp_path / 'out', ONLY_JSON)

    with pytest.raises(KeyboardInterrupt):
        first.run()
    before = files_of(tmp_path / 'out')
    second = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    assert first.report().stopped == 'interrupted'
    assert first.report().untried >= 2
    assert states(second) == {'a': 'skipped', 'b': 'done', 'c': 'done'}
    after = files_of(tmp_path / 'out')
    assert {name: after[name] for name in before} == before
    assert len(after) == 3 * 3


def test_what_was_written_while_it_was_interrupted_is_reported(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C comes on the second scan, while the first is being written."""
    write_scans(tmp_path / 'in', ['a', 'b', 'c'])
    interrupted = threading.Event()
    usual = scan_steps.export_result

    def export(*given: Any, **more: Any) -> Any:
        assert interrupted.wait(30), 'nothing is written behind'
        return usual(*given, **more)

    class OnTheSecond(Interrupted):
        def test_step(self, batch: dict) -> list[Any]:
            try:
                return super().test_step(batch)
            except KeyboardInterrupt:
                interrupted.set()
                raise

    monkeypatch.setattr(scan_steps, 'export_result', export)
    threshold.model = OnTheSecond()
    scans, _ = find_scans([tmp_path / 'in'], tmp_path / 'out')
    run = ScanRun(threshold, scans, tmp_path / 'out', ONLY_JSON)

    with pytest.raises(KeyboardInterrupt):
        run.run()

    assert states(run) == {'a': 'done'} and run.report().untried == 2
    assert (tmp_path / 'out' / 'a' / 'inference.json').is_file()
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a'}


def test_what_a_kill_left_without_its_record_is_made_again(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a', 'b'])
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    (tmp_path / 'out' / 'a' / 'inference.json').unlink()
    (tmp_path / 'out' / 'a' / 'marks.csv').write_text('half')

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    assert states(run) == {'a': 'done', 'b': 'skipped'}
    assert 'a,' in (tmp_path / 'out' / 'a' / 'marks.csv').read_text()


def test_results_of_other_settings_are_not_mixed(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a', 'b'])
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    before = files_of(tmp_path / 'out')

    threshold.selection = Selection(score_thr=0.5)
    with pytest.raises(ConfigError, match='of another selection'):
        run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    threshold.info = replace(threshold.info, weights_sha256='c' * 64)
    with pytest.raises(ConfigError, match='another weights_sha256, selection'):
        run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    assert files_of(tmp_path / 'out') == before
    write_scans(tmp_path / 'in', ['x', 'b'])
    run = run_on(
        threshold,
        tmp_path / 'in',
        tmp_path / 'out',
        replace(ONLY_JSON, overwrite=True),
    )

    assert states(run) == dict.fromkeys('abx', 'done')


def test_another_scan_of_the_same_name_is_refused(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'in', ['a'])
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    write_scans(tmp_path / 'in', ['x', 'a'])

    with pytest.raises(ConfigError, match='a: holds a result of another scan'):
        run_on(threshold, tmp_path / 'in', tmp_path / 'out')


def test_a_scan_that_was_damaged_since_is_one_that_fails(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    """Its header cannot be read to compare it with what was done."""
    for name in ('a', 'b'):
        write_scans(tmp_path / 'in', [name])
        image = read_image(tmp_path / 'in' / f'{name}.mha')
        write_image(
            tmp_path / 'in' / f'{name}.mhd', image.array, image.geometry
        )
        (tmp_path / 'in' / f'{name}.mha').unlink()
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    (tmp_path / 'in' / 'a.mhd').write_text('no header')

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    assert states(run) == {'a': 'failed', 'b': 'skipped'}


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


def test_who_the_patient_is_stays_out_of_everything(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    whole, broken = tmp_path / 'in' / 'DOE_JOHN', tmp_path / 'in' / 'DOE_JANE'
    write_patient(whole, '1.5')
    write_patient(broken, '1.6')
    first = sorted(broken.iterdir())[3]
    data = dcmread(first)
    data.PixelData = data.PixelData[:100]
    data.save_as(first)

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    kept = run_on(
        threshold,
        tmp_path / 'in',
        tmp_path / 'phi',
        replace(ONLY_JSON, keep_phi=True),
    )

    assert states(run) == states(kept) == {'1.5': 'done', '1.6': 'failed'}
    texts = [json.dumps(run.report().to_dict())]
    texts += [p.read_text() for p in (tmp_path / 'out').glob('*/*.*')]
    for text in texts:
        assert not any(word in text for word in ('DOE', 'MRN', 'CHEST'))
    assert run.outcomes[1].reason.startswith('1.6/')
    record = json.loads((tmp_path / 'phi/1.5/inference.json').read_text())
    assert record['path'] == str(whole) and record['patient_id'] == PATIENT
    assert str(first) in kept.outcomes[1].reason


@pytest.mark.parametrize('packed', [False, True])
def test_folders_of_one_series_stay_out_of_its_error(
    threshold: NoduleInferencer, tmp_path: Path, packed: bool
) -> None:
    """Half of the slices lie in a folder, half in one beside it."""
    write_patient(tmp_path / 'in' / 'DOE', '1.5')
    (tmp_path / 'in' / 'DOE_JOHN').mkdir()
    for k, path in enumerate(sorted((tmp_path / 'in' / 'DOE').iterdir())):
        data = dcmread(path)
        data.PixelData = data.PixelData[:100]
        data.save_as(path)
        if k % 2:
            path.rename(tmp_path / 'in' / 'DOE_JOHN' / path.name)
    given = tmp_path / 'in'
    if packed:
        given = Path(shutil.make_archive(str(tmp_path / 'd'), 'zip', given))

    run = run_on(threshold, given, tmp_path / 'out')

    reason = run.outcomes[0].reason
    assert reason.startswith('1.5/') and 'cannot be read' in reason
    assert 'DOE' not in reason


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
