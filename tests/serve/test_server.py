"""The server as a process: signals, kills, many clients at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lungdet.apis.detector_options import DetectorOptions
from lungdet.errors import ConfigError
from lungdet.serve.limits import Limits
from lungdet.serve.server import listening, serve
from tests.apis.scans import write_scans
from tests.serve.live import ROOT, resident, server, wait_until_gone

FP32 = ('--precision', 'fp32', '--score-thr', '0')
MB = 1 << 20


def start(folder: Path, host: str, token: str | None = None) -> None:
    serve(
        folder,
        DetectorOptions(Path('no weights there')),
        Limits(free_bytes=1),
        host=host,
        port=0,
        token=token,
        tell=lambda text: None,
    )


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.0.2.1', 'ct.example'])
def test_others_need_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match='must have a token; set LUNGDET_'):
        start(tmp_path, host)

    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_named() -> None:
    with listening('127.0.0.1', 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f'--port {port}: cannot listen'):
            with listening('127.0.0.1', port):
                pass
    with pytest.raises(OSError, match='no.such.host.invalid'):
        with listening('no.such.host.invalid', 1):
            pass


@pytest.mark.parametrize('port', [-1, 65536, 99999])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f'--port {port}: .* 0 to 65535'):
        with listening('127.0.0.1', port):
            pass


def test_it_listens_where_it_is_told() -> None:
    with listening('localhost', 0) as listener:
        with socket.create_connection(listener.getsockname()[:2]):
            pass


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_scans(tmp_path / 'in', ['a'])
    return tmp_path / 'in' / 'a.mha'


@pytest.mark.slow
def test_a_killed_server_goes_on_with_its_jobs(
    tmp_path: Path, scan: Path
) -> None:
    out = tmp_path / 'out'
    with server(out, *FP32) as first:
        ids = [first.send(scan) for _ in range(3)]
        first.until(ids[0], 'running', 'done')
        children = first.children()
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until_gone(children)
    (out / 'jobs' / ('0' * 32)).mkdir()  # like an interrupted upload

    with server(out, *FP32) as second:
        jobs = [second.until(job_id, 'done', 'failed') for job_id in ids]
        results = [second.result(job_id).json() for job_id in ids]
        assert second.end(signal.SIGTERM) == 130

    assert [job['state'] for job in jobs] == ['done'] * 3
    assert results[0]['detections'] == results[2]['detections']
    assert {p.name for p in (out / 'jobs').iterdir()} == {*ids}
    text = second.log.read_text()
    assert 'Traceback' not in text and 'run the same command again' in text


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_worker(
    tmp_path: Path, scan: Path, number: signal.Signals
) -> None:
    with server(tmp_path / 'out', *FP32) as one:
        job_id = one.send(scan)
        one.until(job_id, 'running', 'done')
        worker, children = one.worker(), one.children()

        assert one.end(number) == 130

        assert not resident(worker)
        wait_until_gone(children)  # Python's resource tracker ends after it
    assert 'Traceback' not in one.log.read_text()


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_one_job(
    tmp_path: Path, scan: Path
) -> None:
    with server(tmp_path / 'out', *FP32) as one:
        first, second = one.send(scan), one.send(scan)
        one.until(first, 'running')
        os.kill(one.worker(), signal.SIGKILL)  # as if memory ran out

        failed = one.until(first, 'failed', 'done')
        done = one.until(second, 'failed', 'done')

    assert (failed['state'], done['state']) == ('failed', 'done')
    assert 'its worker was killed' in failed['error']


MARGIN_MB = 366  # enough for the small scan, not for one of 600 MB


def loading_mb(module: str) -> int:
    """Memory of a process that imports it; CUDA's torch needs more."""
    code = (
        f'import {module}\n'
        "print(open('/proc/self/status').read().split('VmData:')[1].split()[0])"
    )
    words = [sys.executable, '-c', code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    return int(done.stdout) // 1024


@pytest.mark.slow
def test_a_job_without_memory_fails_alone(tmp_path: Path, scan: Path) -> None:
    """The worker's memory is limited; the first scan needs more."""
    header = (
        'ObjectType = Image\nNDims = 3\nDimSize = 1000 1000 300\n'
        'ElementType = MET_SHORT\nElementSpacing = 0.5 0.5 1\nOffset = 0 0 0\n'
        'ElementDataFile = LOCAL\n'
    )
    large = tmp_path / 'large.mha'
    with open(large, 'wb') as file:
        file.write(header.encode())
        file.truncate(len(header) + 2 * 1000 * 1000 * 300)
    enough = loading_mb('lungdet.apis.inferencer') + MARGIN_MB
    with server(
        *(tmp_path / 'out', *FP32, '--max-memory', str(enough)),
    ) as one:
        first, second = one.send(large), one.send(scan)
        failed = one.until(first, 'failed', 'done')
        done = one.until(second, 'failed', 'done')

    assert (failed['state'], done['state']) == ('failed', 'done'), done
    assert 'memory' in failed['error'].lower() or 'alloc' in failed['error']


@pytest.mark.slow
def test_fifty_clients_at_once(tmp_path: Path) -> None:
    """No job is lost, memory is bounded, results equal those of infer."""
    names = [f's{k}' for k in range(5)]
    write_scans(tmp_path / 'in', names)
    expected = infer(tmp_path / 'in', tmp_path / 'infer')
    with server(tmp_path / 'out', *FP32) as one:
        pids = [one.process.pid, one.worker()]
        for name in names:
            one.until(one.send(tmp_path / f'in/{name}.mha'), 'done')
        one_by_one = [resident(pid, 'VmHWM') for pid in pids]

        with ThreadPoolExecutor(50) as clients:
            sent = [
                (name, clients.submit(one.send, tmp_path / f'in/{name}.mha'))
                for name in names * 10
            ]
            jobs = {future.result(): name for name, future in sent}
            for job_id in jobs:
                assert one.until(job_id, 'done', 'failed')['state'] == 'done'

        peaks = [resident(pid, 'VmHWM') for pid in pids]
        results = {job_id: one.result(job_id).json() for job_id in jobs}
        metrics = one.client.get('/metrics').text
    assert len(jobs) == 50
    for job_id, name in jobs.items():
        for key in ('detections', 'geometry', 'case_geometry', 'dropped'):
            assert results[job_id][key] == expected[name][key]
    assert any(result['detections'] for result in results.values())
    assert 'lungdet_ended_jobs_total{state="done"} 55' in metrics
    assert 'lungdet_lost_workers_total 0' in metrics
    # the server may add a buffer and a thread per upload, the worker nothing
    for now, before in zip(peaks, one_by_one, strict=True):
        assert now - before < 100 * MB, (one_by_one, peaks)


def infer(folder: Path, out: Path) -> dict[str, dict]:
    """Results of ``lungdet infer``, by name."""
    subprocess.run(
        [
            *(sys.executable, '-m', 'lungdet.cli', 'infer', str(folder)),
            *('--out', str(out), '--formats', 'json', '--quiet', *FP32),
        ],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        check=True,
    )
    return {
        path.parent.name: json.loads(path.read_text())
        for path in out.glob('*/result.json')
    }
