"""Runs that were stopped, and runs on folders that hold results."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungdet.apis import scan_steps
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.errors import ConfigError
from lungdet.evaluation import Selection
from lungdet.io.image import read_image, write_image
from tests.apis.scans import ONLY_JSON, SLICES, run_on, states, write_scans
from tests.apis.test_inferencer import Threshold, threshold
from tests.dicom_series import labelled, write_series, write_slice

__all__ = ['threshold']


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


@pytest.mark.parametrize('kind', ['image', 'slices', 'mask'])
def test_a_scan_that_was_replaced_while_it_was_processed_is_another(
    threshold: NoduleInferencer, tmp_path: Path, kind: str
) -> None:
    folder, mask = tmp_path / 'in', tmp_path / 'mask.mha'
    write_scans(folder, ['a'])
    image = read_image(folder / 'a.mha')
    write_image(mask, np.full_like(image.array, 3), image.geometry)
    if kind == 'slices':
        (folder / 'a.mha').unlink()
        write_series(folder, SLICES)

    def replace_it() -> None:
        if kind == 'slices':
            write_slice(folder, 9, SLICES[9] + 1)
        else:
            path = mask if kind == 'mask' else folder / 'a.mha'
            write_image(path, image.array // 2, image.geometry)

    class Meanwhile(Threshold):
        def test_step(self, batch: dict) -> list[Any]:
            replace_it()
            return super().test_step(batch)

    given = mask if kind == 'mask' else None
    scans, _ = find_scans([folder], tmp_path / 'out', lung_mask=given)
    threshold.model = Meanwhile()
    first = ScanRun(threshold, scans, tmp_path / 'out', ONLY_JSON)
    first.run()
    second = ScanRun(threshold, scans, tmp_path / 'out', ONLY_JSON)

    assert [*states(first).values()] == ['done']
    with pytest.raises(ConfigError, match='holds a result of another'):
        second.run()


def test_results_and_further_series_lie_in_the_folder_of_a_series(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    folder = tmp_path / 'case1'
    folder.mkdir()

    def add(uid: str, hu: np.ndarray = SLICES) -> None:
        edit = labelled(StudyInstanceUID=f'9.{uid}')
        for k, plane in enumerate(hu):
            name = f'{uid}-{k}.dcm'
            write_slice(folder, k, plane, series=uid, edit=edit, name=name)

    add('1.1')
    first = run_on(threshold, folder, folder / 'results')
    second = run_on(threshold, folder, folder / 'results')
    add('1.2')
    (folder / '.DS_Store').write_bytes(b'Bud1')
    third = run_on(threshold, folder, folder / 'results')

    assert states(first) == {'1.1': 'done'}
    assert states(second) == {'1.1': 'skipped'}
    assert states(third) == {'1.1': 'skipped', '1.2': 'done'}
    add('1.1', SLICES[::-1])
    with pytest.raises(ConfigError, match='1.1: holds a result of another sc'):
        run_on(threshold, folder, folder / 'results')


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
