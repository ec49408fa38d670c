"""A disk that fills up while scans are prepared."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lungdet.io.case_store import CaseStore
from lungdet.prepare import prepare_folder
from tests.prepare.scans import SCANS, contents


def filled_up(
    monkeypatch: pytest.MonkeyPatch, after: int, suffix: str = '.b2nd'
) -> None:
    """Let the disk be full after some files of a kind."""
    real, written = Path.write_bytes, []

    def write(path: Path, content: bytes) -> int:
        if path.name.endswith(suffix):
            written.append(path)
            if len(written) > after:
                real(path, content[:10])
                raise OSError(errno.ENOSPC, 'No space left on device')
        return real(path, content)

    monkeypatch.setattr(Path, 'write_bytes', write)


def test_full_disk_leaves_a_good_store_as_it_was(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    prepare_folder(scans, out, progress=False)
    before = contents(out)
    with monkeypatch.context() as context:
        filled_up(context, after=1)
        summary = prepare_folder(scans, out, spacing_mm=1.5, progress=False)

    assert contents(out) == before
    assert summary.exit_code == 3
    assert (summary.prepared, summary.untried) == (0, 3)
    table = summary.table()
    assert 'a.image.b2nd: no space left on device; nothing was' in table
    assert '3 cases of earlier settings stay' in table
    store = CaseStore(out)
    for uid in SCANS:
        store.verify(uid)
    assert prepare_folder(scans, out, progress=False).skipped == 3


def test_full_disk_half_way_keeps_what_is_done(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index holds one spacing; the older cases lie beside it."""
    out, straight = tmp_path / 'out', tmp_path / 'straight'
    prepare_folder(scans, straight, spacing_mm=1.5, progress=False)
    prepare_folder(scans, out, progress=False)
    with monkeypatch.context() as context:
        filled_up(context, after=2)
        summary = prepare_folder(scans, out, spacing_mm=1.5, progress=False)

    assert list(CaseStore(out).records) == ['a']
    assert (summary.prepared, summary.untried) == (1, 2)
    assert len(list(out.glob('cases/*.json'))) == 3
    assert not list(out.rglob('.tmp-*'))
    again = prepare_folder(scans, out, spacing_mm=1.5, progress=False)
    assert again.skipped == 1 and again.exit_code == 0
    assert contents(out) == contents(straight)


def test_an_index_that_does_not_fit_is_told_with_the_summary(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled_up(monkeypatch, after=0, suffix='index.json')

    summary = prepare_folder(scans, tmp_path / 'out', progress=False)

    assert summary.prepared == 3 and summary.exit_code == 3
    assert 'stopped: ' in summary.table()
    assert 'index.json: no space left on device' in summary.table()
