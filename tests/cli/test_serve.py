"""Options of ``lungdet serve``; the server itself is in ``tests/serve``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from lungdet.cli import build_parser, main, serve
from lungdet.errors import ConfigError

TOKEN = 'correct-horse-battery'


def parsed(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(['serve', '--out', 'out', *words])


def test_limits_in_units_of_people() -> None:
    pytest.importorskip('fastapi')
    usual = serve.limits_of(parsed())
    limits = serve.limits_of(
        parsed(
            *('--max-upload', '0.5', '--max-jobs', '7', '--max-seconds', '9'),
            *('--max-disk', '2', '--min-free', '3', '--keep-hours', '0.5'),
            *('--max-starts', '4', '--max-memory', '1'),
        )
    )

    assert (usual.upload_bytes, usual.memory_bytes) == (10**9, None)
    assert vars(limits) == {
        'upload_bytes': 500_000,
        'upload_seconds': usual.upload_seconds,
        'waiting_jobs': 7,
        'job_seconds': 9.0,
        'memory_bytes': 10**6,
        'disk_bytes': 2 * 10**6,
        'free_bytes': 3 * 10**6,
        'keep_seconds': 1800.0,
        'starts': 4,
    }


def test_limits_of_the_options_are_those_of_the_package() -> None:
    pytest.importorskip('fastapi')
    from lungdet.serve.limits import Limits

    assert serve.limits_of(parsed()) == Limits()


def test_the_token_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('LUNGDET_TOKEN', raising=False)
    assert serve.token_of(None) is None
    monkeypatch.setenv('LUNGDET_TOKEN', TOKEN)
    assert serve.token_of(None) == TOKEN
    (tmp_path / 'token').write_text('another-long-token\n')
    assert serve.token_of(tmp_path / 'token') == 'another-long-token'
    with pytest.raises(SystemExit):
        parsed('--token', TOKEN)


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['--host', '0.0.0.0'], 'clients must have a token'),
        (['--token-file', '{folder}/short'], 'must have 16 to 200'),
        (['--token-file', '{folder}/binary'], 'contains no token'),
        (['--token-file', '{folder}/absent'], 'no such file'),
        (['--keep-all', '--merge', '3'], '--merge would'),
        (['--score-thr', '2'], 'give a probability'),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    pytest.importorskip('fastapi')
    monkeypatch.delenv('LUNGDET_TOKEN', raising=False)
    (tmp_path / 'short').write_text('short')
    (tmp_path / 'binary').write_bytes(b'\xff' * 20)
    words = [word.format(folder=tmp_path) for word in words]

    code = main(['serve', '--out', str(tmp_path / 'out'), *words])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert reason in error and '\n' not in error
    assert 'short' not in error or '--token' not in words[0]
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('port', ['-1', '65536', '99999'])
def test_a_port_that_does_not_exist_is_bad_usage(
    port: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed(f'--port={port}')

    assert stopped.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert f'--port: {port} is no port; choose one from 0 to 65535' in line
    assert [parsed(f'--port={k}').port for k in (0, 65535)] == [0, 65535]


def test_a_missing_library_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(serve, 'LIBRARIES', ('no_such_library',))

    assert main(['serve', '--out', str(tmp_path)]) == 2

    assert "pip install 'lungdet[serve]'" in capsys.readouterr().err


def test_events_have_a_time_and_no_control_characters(
    capsys: pytest.CaptureFixture,
) -> None:
    serve.print_event('job \x1b[2J')

    line = capsys.readouterr().out
    assert line.count('\n') == 1 and '\x1b' not in line
    assert line[4] == '-' and line.endswith('job \\x1b[2J\n')


def test_a_pipe_without_a_writer_has_no_token(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')

    with pytest.raises(ConfigError, match='a pipe without a writer'):
        serve.token_of(tmp_path / 'pipe')
