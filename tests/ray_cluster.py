"""A Ray cluster on this machine, whose workers can be killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import pytest

LIMIT_S = 300  # a wait that takes longer is a hang
MEMORY = str(8 * 10**9)  # declared, so that two workers always fit
STORE = str(10**8)
# process titles of a worker, and of one that has a task
WORKER, BUSY = b'ray::Worker', b'ray::Worker.work'
ADDRESS = re.compile(r"ray start --address='([^']+)'")


@dataclass
class RunningCluster:
    """A cluster, its logs, and the programs that tests run on it.

    Attributes:
        address: Address of its head.
        folder: Folder of its logs.
        session: Session id of its processes.
        programs: Commands that were started, to be ended with the cluster.
    """

    address: str
    folder: Path
    session: int
    programs: list[subprocess.Popen] = field(default_factory=list)

    def start(self, words: list[str], **more: object) -> subprocess.Popen:
        """Start a command of lungdet."""
        program = subprocess.Popen(
            [sys.executable, '-m', 'lungdet.cli', *words],
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # a suite that runs in the background ignores Ctrl-C, and its
            # programs would, too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **more,  # type: ignore[call-overload]
        )
        self.programs.append(program)
        return program

    def busy_workers(self) -> list[int]:
        """Process ids of the workers that have a task."""
        return self.titled(BUSY)

    def kill_a_busy_worker(self, program: subprocess.Popen) -> None:
        """Kill a worker while the program that it works for runs."""
        wait_until(self.busy_workers, program)
        busy = self.busy_workers()
        assert busy, f'no worker had a task: {finish(program)}'
        os.kill(busy[0], signal.SIGKILL)

    def wait_until_idle(self) -> None:
        """Wait until Ray has ended the workers of programs that ended."""
        end = time.monotonic() + LIMIT_S
        while self.titled(WORKER):
            assert time.monotonic() < end, f'workers after {LIMIT_S} s'
            time.sleep(0.1)

    def logged(self) -> Iterator[bytes]:
        """Contents of Ray's logs."""
        for path in self.folder.rglob('*'):
            if path.is_file() and not path.is_symlink():
                yield path.read_bytes()

    def titled(self, title: bytes) -> list[int]:
        """Process ids whose title begins so."""
        return [
            pid
            for pid, words in processes_of(self.session)
            if words.startswith(title)
        ]


def wait_until(
    condition: Callable[[], object], program: subprocess.Popen
) -> None:
    """Wait for a condition, or for the end of the program."""
    end = time.monotonic() + LIMIT_S
    while not condition() and program.poll() is None:
        assert time.monotonic() < end, f'{program.args}: {LIMIT_S} s passed'
        time.sleep(0.02)


def finish(program: subprocess.Popen, code: int = 0) -> str:
    """What a program printed; it must end with an exit code, in time."""
    text, _ = program.communicate(timeout=LIMIT_S)
    assert program.returncode == code, text
    assert 'Traceback' not in text, text
    return text


def processes_of(session: int) -> list[tuple[int, bytes]]:
    """Process id and title of each process in a session."""
    titles = []
    for path in Path('/proc').glob('[0-9]*'):
        try:
            title = (path / 'cmdline').read_bytes()
            stat = (path / 'stat').read_text().rpartition(')')[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(stat[3]) == session:
            titles.append((int(path.name), title))
    return titles


def wait_until_ended(session: int) -> None:
    """Wait until no process of a session runs; zombies have no title."""
    end = time.monotonic() + LIMIT_S
    while left := [title for _, title in processes_of(session) if title]:
        assert time.monotonic() < end, f'{left} after {LIMIT_S} s'
        time.sleep(0.1)


@pytest.fixture(scope='module')
def cluster() -> Iterator[RunningCluster]:
    """A cluster with two processors; programs inherit its token."""
    pytest.importorskip('ray', reason="pip install 'lungdet[ray]'")
    if not Path('/proc').is_dir():
        pytest.skip('reads /proc')
    folder = Path(mkdtemp(prefix='ray-'))  # names of sockets must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_AUTH_MODE', 'token')
        patch.setenv('RAY_AUTH_TOKEN', secrets.token_hex())
        head = start_head(folder)
        running = RunningCluster('', folder, head.pid)
        try:
            log = folder / 'start.txt'
            wait_until(lambda: ADDRESS.search(log.read_text()), head)
            match = ADDRESS.search(log.read_text())
            assert match is not None, log.read_text()
            running.address = match[1]
            yield running
        finally:
            end_all(running, head)


def run_alone(
    words: list[str], code: int = 0, *, gone: str | None = None
) -> tuple[str, list[bytes]]:
    """Run a command of lungdet where no cluster is.

    Args:
        words: Its words.
        code: Its exit code.
        gone: Address of a cluster that was killed.

    Returns:
        What it printed, and Ray's logs.
    """
    pytest.importorskip('ray', reason="pip install 'lungdet[ray]'")
    if not Path('/proc').is_dir():
        pytest.skip('reads /proc')
    folder = Path(mkdtemp(prefix='ray-'))  # names of sockets must be short
    env = {k: v for k, v in os.environ.items() if not k.startswith('RAY_')}
    # where Ray looks for a running cluster, and for its token
    env |= {'RAY_TMPDIR': str(folder), 'HOME': str(folder)}
    if gone is not None:
        (folder / 'ray').mkdir()
        (folder / 'ray' / 'ray_current_cluster').write_text(gone)
    program = subprocess.Popen(
        [sys.executable, '-m', 'lungdet.cli', *words],
        env={**env, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    running = RunningCluster('', folder, program.pid, [program])
    try:
        text = finish(program, code)
        wait_until_ended(program.pid)
        return text, list(running.logged())
    finally:
        end_all(running)


def start_head(folder: Path) -> subprocess.Popen:
    """Start a cluster on ports that are free; its log is ``start.txt``."""
    words = [sys.executable, '-m', 'ray.scripts.scripts', 'start', '--head']
    words += ['--block', '--port=0', '--node-ip-address=127.0.0.1']
    words += ['--num-cpus=2', '--num-gpus=0', f'--temp-dir={folder}']
    words += [f'--memory={MEMORY}', f'--object-store-memory={STORE}']
    words += ['--include-dashboard=false', '--disable-usage-stats']
    with open(folder / 'start.txt', 'wb') as log:
        return subprocess.Popen(
            words, stdout=log, stderr=log, start_new_session=True
        )


def end_all(
    running: RunningCluster, head: subprocess.Popen | None = None
) -> None:
    """End the programs and the cluster, whatever state they are in."""
    for program in running.programs:
        if program.poll() is None:
            program.kill()
        program.wait()
        if program.stdout is not None:
            program.stdout.close()
    if head is not None:
        head.terminate()
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            pass  # killed below
    for pid, _ in processes_of(running.session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if head is not None:
        head.wait()
    shutil.rmtree(running.folder, ignore_errors=True)
