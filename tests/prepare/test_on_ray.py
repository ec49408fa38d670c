"""A Ray cluster prepares the same cases as a local run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lungdet.io.image import write_image
from lungdet.prepare import prepare_luna16
from tests.prepare.scans import chest, contents, table_of, volume_of
from tests.ray_cluster import RunningCluster, cluster, finish, run_alone

__all__ = ['cluster']
SCANS = [f's{k}' for k in range(5)]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A LUNA16 folder of scans that take a second each, and a broken file."""
    folder = tmp_path / 'DOE_JOHN'
    folder.mkdir()
    for k, name in enumerate(SCANS):
        volume = volume_of(chest())
        volume.array[30:33, 44:47, 30 + k : 33 + k] = 60
        write_image(folder / f'{name}.mhd', volume.array, volume.geometry)
    (folder / 'broken.mhd').write_text('no image')
    rows = ''.join(
        f'{name},{3 * (31 + k)},135,93,9\n' for k, name in enumerate(SCANS)
    )
    table_of(tmp_path, rows).rename(folder / 'annotations.csv')
    (folder / 'seriesuids.csv').write_text('broken\n')
    return folder


def without_bar(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and '%|' not in line]


@pytest.mark.slow
def test_a_killed_worker_loses_no_case(
    scans: Path, cluster: RunningCluster, tmp_path: Path
) -> None:
    out, straight = tmp_path / 'out', tmp_path / 'straight'
    words = ['prepare', 'luna16', str(scans), str(out)]
    driver = cluster.start([*words, '--ray', cluster.address])

    cluster.kill_a_busy_worker(driver)
    text = finish(driver, 3)  # of the broken file
    without = prepare_luna16(scans, straight, progress=False)

    assert 'a worker was killed (1 so far)' in text
    assert list(without.failed) == ['broken']
    failed = [line for line in text.splitlines() if 'failed: ' in line]
    assert failed == [f'failed: broken: {without.failed["broken"]}']
    assert contents(out) == contents(straight)
    assert len(list(out.glob('cases/*.json'))) == len(SCANS)
    assert not any(b'DOE_JOHN' in log for log in cluster.logged())


@pytest.mark.slow
def test_a_cluster_is_started_in_place_of_one_that_is_gone(
    scans: Path, tmp_path: Path
) -> None:
    out, straight = tmp_path / 'out', tmp_path / 'straight'
    words = ['prepare', 'luna16', str(scans)]

    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))  # and does not listen
        gone = f'127.0.0.1:{other.getsockname()[1]}'
        text, logs = run_alone([*words, str(out), '--ray'], 3, gone=gone)
    plain, _ = run_alone([*words, str(straight)], 3)  # of the broken file

    assert without_bar(text) == without_bar(plain)
    assert contents(out) == contents(straight)
    assert len(list(out.glob('cases/*.json'))) == len(SCANS)
    assert any(b'Worker' in log for log in logs)
    assert not any(b'DOE_JOHN' in log for log in logs)
