"""``lungdet serve`` as a subprocess, and a client for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0  # seconds; generous, for a busy machine


class Server:
    """A running server.

    Args:
        out: Its folder.
        words: Additional options.
        environ: Additional environment variables.
    """

    def __init__(
        self, out: Path, *words: str, environ: dict[str, str] | None = None
    ) -> None:
        self.out = out
        self.log = out.with_name(f'{out.name}.log')
        self.log.touch()
        before = self.log.read_text().count('serving at')
        with open(self.log, 'a') as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, '-m', 'lungdet.cli', 'serve'),
                    *('--out', str(out), '--port', '0', '--min-free', '1'),
                    *words,
                ],
                cwd=ROOT,
                env={**os.environ, 'OMP_NUM_THREADS': '1', **(environ or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
                # background processes of a shell ignore SIGINT
                preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                ),
            )
        self.address = self.told_address(before)
        self.client = httpx2.Client(base_url=self.address, timeout=60)

    def told_address(self, before: int) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            lines = self.log.read_text().splitlines()
            told = [line for line in lines if 'serving at' in line]
            if len(told) > before:
                return told[-1].split()[-1].rstrip('/')
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError('the server does not start')

    def send(self, scan: Path) -> str:
        """Send a scan; return the id of its job."""
        with open(scan, 'rb') as file:
            answer = self.client.post('/v1/jobs', files={'scan': file})
        assert answer.status_code == 202, answer.text
        return answer.json()['id']

    def job(self, job_id: str) -> dict[str, Any]:
        """The current view of a job."""
        answer = self.client.get(f'/v1/jobs/{job_id}')
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until a job is in one of the states."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            job = self.job(job_id)
            if job['state'] in states:
                return job
            time.sleep(0.1)
        raise AssertionError(f'{job} is not {states}: {self.log.read_text()}')

    def result(self, job_id: str, name: str = 'json') -> Any:
        """Fetch a result, which must exist."""
        answer = self.client.get(f'/v1/jobs/{job_id}/results/{name}')
        assert answer.status_code == 200, answer.text
        return answer

    def children(self) -> list[int]:
        """Ids of its live child processes."""
        listed = subprocess.run(
            ['ps', '-o', 'pid=', '-s', str(self.process.pid)],
            capture_output=True,
            text=True,
        )
        return [
            pid
            for pid in map(int, listed.stdout.split())
            if pid != self.process.pid
        ]

    def worker(self) -> int:
        """Id of the worker process: the largest child."""
        return max(self.children(), key=resident)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def server(out: Path, *words: str, **given: Any) -> Iterator[Server]:
    """A server that is killed at the end of the block, if still alive."""
    made = Server(out, *words, **given)
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)


def wait_until_gone(pids: list[int]) -> None:
    """Wait for processes that end by themselves, soon after their parent."""
    end = time.monotonic() + 60
    while any(map(resident, pids)):
        assert time.monotonic() < end, 'a process of the server lives'
        time.sleep(0.1)


def resident(pid: int, key: str = 'VmRSS') -> int:
    """Bytes of memory that a process has, or with ``VmHWM`` has had at most;
    0 if it has ended.
    """
    try:
        text = Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(f'{key}:'):
            return int(line.split()[1]) * 1024
    return 0
