"""A Ray cluster gives the results of a local run, even if workers are killed.

Each run loads torch in the main program and in two workers, so each run tests
several things.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from lungdet.apis.detector_options import DetectorOptions
from lungdet.apis.infer_on_ray import GPUS, MEMORY, RayScanRun, needs_of
from lungdet.errors import ConfigError
from lungdet.io.ray_cluster import Cluster, Needs, RayOptions
from tests.apis.scans import write_scans
from tests.cli.conftest import marking
from tests.engine.conftest import tiny_config, tiny_store, trained
from tests.ray_cluster import (
    RunningCluster,
    cluster,
    finish,
    run_alone,
    wait_until,
)
from tests.schemas import assert_valid

__all__ = ['cluster', 'marking', 'tiny_config', 'tiny_store', 'trained']
SCANS = [f's{k:02d}' for k in range(12)]
PATIENT = 'DOE_JOHN'
# what each process measures
MEASURED = re.compile(
    rb'"(created|seconds)": ("[^"]*"|\{[^}]*\}|[\d.e+-]+)|'
    rb'\d{4}-\d\d-\d\dT[\d:.+Z-]+'
)

NUMBERS = re.compile(r'\[\d+/\d+\]|; [\d.]+ s$')


def test_workers_take_what_the_cluster_has() -> None:
    small = Cluster(None, ({'CPU': 1.0}, {}))
    large = Cluster(None, ({'CPU': 64.0}, {'CPU': 8.0, 'GPU': 4.0}))

    assert needs_of('auto', small, None) == Needs(1, MEMORY)
    assert needs_of('auto', large, None) == Needs(1, MEMORY, GPUS)
    assert needs_of('cuda', large, 3) == Needs(3, MEMORY, GPUS)
    assert needs_of('cpu', large, None) == Needs(2, MEMORY)
    assert needs_of('cpu', large, 7) == Needs(7, MEMORY)
    with pytest.raises(ConfigError, match='cluster has no GPU'):
        needs_of('cuda', small, None)


def test_which_gpu_is_not_for_the_user_to_say(tmp_path: Path) -> None:
    detector = DetectorOptions(device='cuda:1')

    with pytest.raises(ConfigError, match='Ray decides which GPU'):
        RayScanRun(detector, [], tmp_path, ray=RayOptions())


def records(out: Path) -> dict[Path, int]:
    """Records of the finished scans, with their modification times."""
    return {
        path: path.stat().st_mtime_ns for path in out.glob('*/inference.json')
    }


def content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): MEASURED.sub(b'', path.read_bytes())
        for path in sorted(out.rglob('*'))
        if path.is_file()
    }


def outcomes(text: str, out: Path) -> list[str]:
    """What a command prints, without the order and the times of scans."""
    text = text.replace(str(out), 'OUT')
    return sorted(NUMBERS.sub('', line) for line in text.splitlines())


@pytest.fixture
def words(marking: Path, tmp_path: Path) -> list[str]:
    write_scans(tmp_path / PATIENT, SCANS)
    (tmp_path / PATIENT / 'broken.mha').write_text('no image')
    return [
        *('infer', str(tmp_path / PATIENT), '--model', str(marking)),
        *('--keep-all', '--precision', 'fp32', '--threads', '1'),
        *('--report', str(tmp_path / 'report.json'), '--out'),
    ]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_lose_nothing(
    words: list[str], cluster: RunningCluster, tmp_path: Path
) -> None:
    out, straight = tmp_path / 'out', tmp_path / 'straight'
    ray = [*words, str(out), '--ray', cluster.address]

    driver = cluster.start(ray)
    wait_until(lambda: len(records(out)) >= 2, driver)
    driver.kill()
    driver.communicate()
    cluster.wait_until_idle()
    before = records(out)
    driver = cluster.start(ray)
    wait_until(lambda: len(records(out)) > len(before), driver)
    cluster.kill_a_busy_worker(driver)
    text = finish(driver, 3)  # of the broken scan
    report = json.loads((tmp_path / 'report.json').read_text())
    finish(cluster.start([*words, str(straight)]), 3)

    assert 0 < len(before) < len(SCANS)
    assert before.items() <= records(out).items()
    assert 'a worker was killed (1 so far); another one takes over' in text
    assert f'{len(before)} done before, 1 failed' in text
    assert_valid('infer_report', report)
    workers = report['workers']
    assert (workers['lost'], workers['retried']) == (1, 1)
    # the third may find everything done
    assert workers['started'] in (2, 3)
    assert report['counts'] == {
        'done': len(SCANS) - len(before),
        'skipped': len(before),
        'failed': 1,
        'untried': 0,
    }
    assert (report['device'], report['precision']) == ('cpu', 'fp32')
    assert content(out) == content(straight)
    assert len(records(out)) == len(SCANS)
    logs = list(cluster.logged())
    assert any(b'Worker' in log for log in logs)
    assert not any(PATIENT.encode() in log for log in logs)


@pytest.mark.slow
def test_a_signal_ends_driver_and_workers(
    words: list[str], cluster: RunningCluster, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    driver = cluster.start([*words, str(out), '--ray', cluster.address])
    wait_until(lambda: records(out), driver)
    driver.send_signal(signal.SIGTERM)

    assert 'run the same command again' in finish(driver, 130)
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['stopped'] == 'interrupted'
    done = {one['series_uid'] for one in report['scans']} - {'broken'}
    assert done <= {path.parent.name for path in records(out)}
    assert report['counts']['untried'] == len(SCANS) + 1 - len(report['scans'])
    cluster.wait_until_idle()


@pytest.mark.slow
def test_a_path_that_a_worker_does_not_see_is_named(
    words: list[str], cluster: RunningCluster, tmp_path: Path
) -> None:
    """A descriptor of the driver, which is nothing in another process."""
    folder = os.open(tmp_path / PATIENT, os.O_RDONLY)
    try:
        words[1] = f'/proc/self/fd/{folder}/s01.mha'
        driver = cluster.start(
            [*words, str(tmp_path / 'out'), '--ray', cluster.address],
            pass_fds=[folder],
        )
        text = finish(driver, 2)
    finally:
        os.close(folder)

    (line,) = [x for x in text.splitlines() if x.startswith('lungdet: ')]
    assert f'{words[1]}: does not exist on ' in line
    assert 'must see the same files' in line
    assert not records(tmp_path / 'out')


@pytest.mark.slow
def test_without_an_address_a_cluster_is_started_and_ended(
    words: list[str], tmp_path: Path
) -> None:
    out, straight = tmp_path / 'out', tmp_path / 'straight'

    text, logs = run_alone([*words, str(out), '--ray'], 3)
    plain, _ = run_alone([*words, str(straight)], 3)  # of the broken scan

    assert outcomes(text, out) == outcomes(plain, straight)
    assert content(out) == content(straight)
    assert len(records(out)) == len(SCANS)
    assert any(b'Worker' in log for log in logs)
    assert not any(PATIENT.encode() in log for log in logs)
