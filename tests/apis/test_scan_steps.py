"""The steps of one scan: each error is its scan's, but for a full disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import scan_steps
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions, ScanSteps
from lungdet.errors import SeriesError
from tests.apis.scans import SLICES, write_scans
from tests.apis.test_inferencer import Threshold, threshold
from tests.dicom_series import write_slice

__all__ = ['threshold']
FULL = OSError(errno.ENOSPC, 'No space left on device', 'somewhere')


@pytest.fixture
def scan(tmp_path: Path) -> ScanInput:
    write_scans(tmp_path / 'in', ['a'])
    return ScanInput('a', tmp_path / 'in' / 'a.mha')


@pytest.fixture
def steps(threshold: NoduleInferencer, tmp_path: Path) -> ScanSteps:
    (tmp_path / 'out').mkdir()
    options = InferOptions(formats=('json',))
    return ScanSteps(threshold, tmp_path / 'out', options)


def failing(error: Exception) -> Any:
    def raise_it(*_: Any, **__: Any) -> Any:
        raise error

    return raise_it


# what each step calls
STEPS = {
    'read': (scan_steps, 'load_volume'),
    'prepare': (NoduleInferencer, 'prepare'),
    'network': (Threshold, 'test_step'),
    'write': (scan_steps, 'export_result'),
}


@pytest.mark.parametrize('name', STEPS)
@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (SeriesError('{path}: bad'), 'a: bad'),
        (MemoryError('too\nlarge'), 'MemoryError: too large'),
        (
            ValueError("'1950-03-14' is no date"),
            'ValueError in a library; --d',
        ),
        (OSError(errno.EIO, 'Input/output error', '{path}'), 'a: input/out'),
    ],
)
def test_an_error_of_a_step_is_the_outcome(
    steps: ScanSteps,
    scan: ScanInput,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: Exception,
    reason: str,
) -> None:
    words = [
        word.format(path=scan.path) if isinstance(word, str) else word
        for word in error.args
    ]
    if isinstance(error, OSError):
        words.append(str(scan.path))
    raised = type(error)(*words)
    monkeypatch.setattr(*STEPS[name], failing(raised))

    outcome = steps.finish(steps.detect(steps.read(scan, steps.out)))

    assert outcome.state == 'failed' and outcome.error is raised
    assert outcome.reason and outcome.reason.startswith(reason)
    assert not list(steps.out.glob('*/inference.json'))


def test_a_step_leaves_what_it_was_given(
    steps: ScanSteps, scan: ScanInput
) -> None:
    read = steps.read(scan, steps.out)
    detected = steps.detect(read)

    assert read.case is not None and read.result is None
    assert detected.result is not None and detected.case is read.case
    outcome = steps.finish(detected)
    assert outcome.state == 'done'
    assert outcome.detections == len(detected.result.detections)


@pytest.mark.parametrize('name', ['read', 'write'])
def test_a_full_disk_is_no_error_of_the_scan(
    steps: ScanSteps,
    scan: ScanInput,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(*STEPS[name], failing(FULL))

    with pytest.raises(OSError) as caught:
        steps.finish(steps.detect(steps.read(scan, steps.out)))

    assert caught.value is FULL


def test_a_known_defect_is_told_without_reading(
    steps: ScanSteps, tmp_path: Path
) -> None:
    scan = ScanInput('z', tmp_path / 'z.zip', defect=f'{tmp_path}/z.zip: bad')

    outcome = steps.finish(steps.read(scan, steps.out))

    assert (outcome.state, outcome.reason) == ('failed', 'z: bad')


def test_all_slices_that_were_listed_are_read(
    steps: ScanSteps, tmp_path: Path
) -> None:
    """Half of them lie in a linked folder, which a reader does not search."""
    (tmp_path / 'ct' / 'a').mkdir(parents=True)
    (tmp_path / 'else').mkdir()
    for k, plane in enumerate(SLICES):
        write_slice(tmp_path / ('else' if k % 2 else 'ct/a'), k, plane)
    (tmp_path / 'ct' / 'b').symlink_to(tmp_path / 'else')
    (scan,), _ = find_scans([tmp_path / 'ct'], steps.out)

    work = steps.read(scan, steps.out)

    assert work.case is not None and len(work.case.slices) == len(SLICES)
    (tmp_path / 'else' / '090.dcm').unlink()
    outcome = steps.finish(steps.read(scan, steps.out))
    assert outcome.state == 'failed'
    assert outcome.reason and '090.dcm: no such file' in outcome.reason
