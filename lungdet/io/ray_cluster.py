"""Connection to a Ray cluster: address, resources, and shared files.

Source: Moritz et al., Ray: A Distributed Framework for Emerging AI
Applications, OSDI 2018; ray 2.60.
"""

from __future__ import annotations

import os
import platform
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from lungdet.errors import ConfigError
from lungdet.io.atomic import check_writable, scratch_folder, write_text
from lungdet.io.numbers import count_of

# keep Ray from sending usage statistics and warning about a future default
QUIET = {
    'RAY_USAGE_STATS_ENABLED': '0',
    'RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO': '1',
}
TOKEN = 'token'
NEW = 'local'  # Ray's name for a new cluster on this machine
ANSWER_S = 10.0  # timeout of a connection; Ray itself waits five minutes


@dataclass(frozen=True)
class RayOptions:
    """Which cluster to use, and how much of it.

    Attributes:
        address: Address of the head node, such as ``10.0.0.1:6379``. None
            stands for the cluster that ``RAY_ADDRESS`` names, else one that
            runs on this machine, else a new one on this machine alone.
        threads: CPUs per worker; None for the default.
        workers: Largest number of workers; None for as many as fit.
    """

    address: str | None = None
    threads: int | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Needs:
    """Resources that one worker needs.

    Attributes:
        cpus: Number of CPUs, and of threads.
        memory: Memory in bytes.
        gpus: Number of GPUs; may be a fraction.
    """

    cpus: int
    memory: int
    gpus: float = 0.0

    def number_on(self, resources: Mapping[str, float]) -> int:
        """Number of workers that fit on a machine.

        Args:
            resources: Resources of the machine, by Ray's names.

        Examples:
            >>> Needs(2, 10**9).number_on({'CPU': 8.0, 'memory': 3.5e9})
            3
            >>> Needs(2, 10**9, 0.5).number_on({'CPU': 8.0, 'memory': 9e9})
            0
        """
        needed = {'CPU': self.cpus, 'memory': self.memory, 'GPU': self.gpus}
        return min(
            int(resources.get(name, 0.0) / amount)
            for name, amount in needed.items()
            if amount
        )


@dataclass(frozen=True)
class Cluster:
    """A cluster that this program is connected to.

    Attributes:
        ray: The ``ray`` module.
        machines: Resources of each machine, by Ray's names.
    """

    ray: Any
    machines: tuple[Mapping[str, float], ...]

    def most(self, name: str) -> float:
        """The largest amount of a resource on one machine."""
        return max((m.get(name, 0.0) for m in self.machines), default=0.0)


@contextmanager
def connected(options: RayOptions) -> Iterator[Cluster]:
    """Connect to a cluster, or start a local one that ends with the block.

    Ray replaces the handler of SIGTERM; the previous one is restored.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    ray = import_ray()
    address = address_of(options.address)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    is_main = current_thread() is main_thread()
    terminate = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level='ERROR',
        )
    except (
        ConnectionError,
        RuntimeError,
        ValueError,
        TimeoutError,
        ray.exceptions.RayError,
    ) as error:
        raise ConfigError(
            f'--ray {options.address or ""}: cannot connect to a cluster '
            f'({" ".join(str(error).split()):.300}); start one with "ray '
            'start --head", with the same versions of Python, Ray and lungdet '
            'on every machine. If the cluster requires a token, set '
            'RAY_AUTH_MODE=token here, too.'
        ) from error
    try:
        if is_main:
            signal.signal(signal.SIGTERM, terminate or signal.SIG_DFL)
        machines = tuple(
            node['Resources'] for node in ray.nodes() if node['Alive']
        )
        yield Cluster(ray, machines)
    finally:
        ray.shutdown()


def address_of(address: str | None) -> str | None:
    """The address to connect Ray to.

    Ray keeps the address of a cluster on this machine in a file. The file
    remains if the cluster is killed, and Ray would wait minutes for it.

    Args:
        address: As in ``RayOptions``.

    Returns:
        The same address, or ``'local'`` for a new cluster if that of the file
        does not answer.

    Raises:
        ConfigError: The cluster that was named does not answer.
    """
    named = address or os.environ.get('RAY_ADDRESS', '')
    if named:
        check_answers(named)
        return address
    try:
        text = address_file().read_text('utf-8', errors='replace')
        check_answers(text.strip())
    except FileNotFoundError:
        return None
    except ConfigError:
        return NEW
    return None


def address_file() -> Path:
    """Where ``ray start`` writes the address of the cluster."""
    folder = os.environ.get('RAY_TMPDIR') or os.environ.get('TMPDIR')
    return Path(folder or '/tmp', 'ray', 'ray_current_cluster')


def check_answers(address: str) -> None:
    """Check that something listens at an address.

    Args:
        address: ``HOST:PORT``; other addresses, such as ``auto``, are left to
            Ray.

    Raises:
        ConfigError: No connection was possible within ten seconds.
    """
    host, _, digits = address.rpartition('://')[2].rpartition(':')
    port = count_of(digits)
    if port is None:
        return
    try:
        socket.create_connection((host.strip('[]'), port), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f'--ray {address}: no cluster answers ({error}); check the '
            'address, or start a cluster with "ray start --head".'
        ) from error


def import_ray() -> Any:
    """The ``ray`` module.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f'--ray: {error}; run pip install "lungdet[ray]".'
        ) from error
    return ray


@dataclass(frozen=True)
class SharedFiles:
    """Files that every machine of a cluster must see at the same paths.

    Attributes:
        folder: Output folder.
        inputs: Input files and folders, and what messages call each.
        probe: A file in ``folder``, by which workers recognise the folder.
        token: Content of ``probe``.
        workdir: Current folder of this program, for relative paths.
    """

    folder: Path
    inputs: Mapping[Path, str]
    probe: Path
    token: str
    workdir: Path

    def check(self) -> None:
        """Check that this machine sees these files; called in a worker.

        Afterwards, ``workdir`` is the worker's current folder, if it exists.

        Raises:
            ConfigError: A path does not exist, or the output folder is not
                the one of the main program.
            OSError: The folder cannot be written to.
        """
        paths = {self.folder: str(self.folder), **self.inputs}
        for path, name in paths.items():
            if not path.exists():
                raise ConfigError(self._message(name, 'does not exist'))
        token = self.token.encode('ascii')
        if not self.probe.is_file() or self.probe.read_bytes() != token:
            raise ConfigError(
                self._message(str(self.folder), 'another folder is')
            )
        check_writable(self.folder, 'the results')
        if self.workdir.is_dir():
            os.chdir(self.workdir)

    def _message(self, name: str, what: str) -> str:
        return (
            f'{name}: {what} on {platform.node()}, a machine of the Ray '
            'cluster. All machines must see the same files; put scans, '
            'weights and results on a shared file system, or leave out --ray.'
        )


@contextmanager
def shared_files(
    folder: Path, inputs: Mapping[Path, str]
) -> Iterator[SharedFiles]:
    """Files of this program, for workers to check.

    Args:
        folder: Output folder; contains the probe until the block ends.
        inputs: Input files and folders, and what messages call each.

    Raises:
        OSError: The folder cannot be written to.
    """
    with scratch_folder(folder.absolute()) as scratch:
        token = secrets.token_hex()
        write_text(scratch / TOKEN, token)
        paths = {path.absolute(): name for path, name in inputs.items()}
        yield SharedFiles(
            folder.absolute(), paths, scratch / TOKEN, token, Path.cwd()
        )
