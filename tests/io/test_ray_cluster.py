"""Checks before a worker starts; they need no cluster."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.errors import ConfigError
from lungdet.io.ray_cluster import (
    Cluster,
    Needs,
    RayOptions,
    address_file,
    address_of,
    check_answers,
    connected,
    shared_files,
)

GB = 10**9


@pytest.mark.parametrize(
    ('needs', 'workers'),
    [
        (Needs(1, GB), 8),
        (Needs(3, GB), 2),
        (Needs(1, 4 * GB), 5),
        (Needs(1, GB, 0.5), 4),
        (Needs(9, GB), 0),
        (Needs(1, 21 * GB), 0),
        (Needs(1, GB, 3), 0),
    ],
)
def test_what_is_scarcest_limits_the_workers(
    needs: Needs, workers: int
) -> None:
    machine = {'CPU': 8.0, 'memory': 20.0 * GB, 'GPU': 2.0, 'node:a': 1.0}

    assert needs.number_on(machine) == workers


def test_the_most_of_one_machine() -> None:
    cluster = Cluster(None, ({'CPU': 2.0}, {'CPU': 8.0, 'GPU': 1.0}))

    assert cluster.most('CPU') == 8 and cluster.most('GPU') == 1
    assert Cluster(None, ()).most('CPU') == 0


def test_a_machine_that_sees_all_takes_the_folder_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'scan.mha').touch()
    monkeypatch.chdir(tmp_path)

    with shared_files(Path('out'), {Path('scan.mha'): 'it'}) as shared:
        monkeypatch.chdir('/')
        shared.check()
        assert Path.cwd() == tmp_path
        monkeypatch.chdir('/')
        replace(shared, workdir=tmp_path / 'only on another machine').check()
        assert Path.cwd() == Path('/')
    assert not list((tmp_path / 'out').iterdir())


def test_what_another_machine_lacks_is_called_as_given(tmp_path: Path) -> None:
    (tmp_path / 'scan.mha').touch()

    with shared_files(
        tmp_path / 'out', {tmp_path / 'scan.mha': 'it'}
    ) as shared:
        (tmp_path / 'scan.mha').unlink()
        with pytest.raises(ConfigError, match='it: does not exist on'):
            shared.check()


@pytest.mark.parametrize('other', [None, 'of another run'])
def test_another_folder_of_the_same_name_is_refused(
    tmp_path: Path, other: str | None
) -> None:
    with shared_files(tmp_path / 'out', {}) as shared:
        shared.probe.unlink()
        if other is not None:
            shared.probe.write_text(other)
        with pytest.raises(ConfigError, match='out: another folder is on'):
            shared.check()


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{other.getsockname()[1]}'
        for silent in (address, f'ray://{address}', '127.0.0.1:70000'):
            with pytest.raises(ConfigError, match='no cluster answers'):
                check_answers(silent)
        other.listen()
        check_answers(address)
    for unknown in ('', 'auto', 'local'):
        check_answers(unknown)


def test_a_cluster_that_is_gone_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('RAY_ADDRESS', raising=False)
    monkeypatch.setenv('RAY_TMPDIR', str(tmp_path))
    assert address_of(None) is None
    address_file().parent.mkdir()

    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{other.getsockname()[1]}'
        address_file().write_text(f'{address}\n')
        assert address_of(None) == 'local'
        other.listen()
        assert address_of(None) is None  # Ray finds it, and its token
        assert address_of(address) == address
    monkeypatch.setenv('RAY_ADDRESS', address)
    with pytest.raises(ConfigError, match='no cluster answers'):
        address_of(None)


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    before = dict(os.environ)

    with pytest.raises(ConfigError, match='pip install .lungdet.ray'):
        with connected(RayOptions()):
            pass

    assert dict(os.environ) == before
