from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lungdet.apis.scan_inputs import find_scans
from tests.apis.remote_scans import STUDY, THIN, filled, folder, server
from tests.dicomweb.fake_server import FakeServer

__all__ = ['filled', 'folder', 'server']


def test_a_series_on_a_server_is_there_while_it_is_read(
    filled: FakeServer, folder: Path, tmp_path: Path
) -> None:
    (scan,), _ = find_scans([filled.of(STUDY)], tmp_path)

    with scan.opened(tmp_path) as opened:
        there = {path.read_bytes() for path in opened.iterdir()}

    assert there == {p.read_bytes() for p in (folder / THIN).iterdir()}
    assert not opened.exists()
    assert scan.path is None and scan.location == filled.of(STUDY, THIN)


def test_fingerprints_change_with_what_is_there(
    filled: FakeServer, folder: Path, tmp_path: Path
) -> None:
    (remote,), _ = find_scans([filled.of(STUDY)], tmp_path)
    (local,), _ = find_scans([folder], tmp_path)

    assert remote.fingerprint() != replace(remote, instances=9).fingerprint()
    assert remote.fingerprint() == replace(remote).fingerprint()
    before = local.fingerprint()
    next((folder / THIN).iterdir()).unlink()
    assert local.fingerprint() != before
