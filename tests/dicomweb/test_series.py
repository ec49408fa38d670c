from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from lungdet.dicomweb import (
    Address,
    ServerError,
    fetch_series,
    list_remote_series,
    parse_address,
)
from tests.dicom_series import labelled, write_slice
from tests.dicomweb.conftest import HASTY
from tests.dicomweb.fake_server import (
    FakeServer,
    Handler,
    cut,
    status,
)

STUDY, THIN, THICK, OTHER = '1.9', '1.9.1', '1.9.2', '1.9.3'
HU = np.full((16, 24), -800.0)


def write(
    folder: Path, uid: str, slices: int, step: float, **tags: Any
) -> None:
    folder.mkdir(exist_ok=True)
    tags = {'StudyInstanceUID': STUDY, 'SliceThickness': step, **tags}
    for k in range(slices):
        name = f'{uid}-{k}.dcm'
        edit = labelled(**tags)
        write_slice(folder, k, HU, series=uid, name=name, edit=edit)


@pytest.fixture
def filled(server: FakeServer, tmp_path: Path) -> FakeServer:
    """A server with two CT series, and others that are not CT."""
    write(tmp_path / 'in', THIN, 12, 1.0, SeriesDescription='LUNG')
    write(tmp_path / 'in', THICK, 9, 5.0)
    write(tmp_path / 'in', OTHER, 1, 1.0, Modality='SR')
    dose = {'SOPClassUID': SecondaryCaptureImageStorage}
    write(tmp_path / 'in', '1.9.4', 1, 1.0, **dose)
    server.add(tmp_path / 'in')
    return server


def address(fake: FakeServer, series: str | None = None) -> Address:
    return parse_address(fake.of(STUDY, series))


@pytest.mark.parametrize('counts', [True, False])
@pytest.mark.parametrize('includes', [True, False])
def test_ct_series_with_what_tells_them_apart(
    filled: FakeServer, counts: bool, includes: bool
) -> None:
    """Also on servers that return required attributes only."""
    filled.counts, filled.includes = counts, includes

    thin, thick = list_remote_series(address(filled), HASTY)

    assert (thin.uid, thin.instances, thin.slices) == (THIN, 12, 12)
    assert (thin.thickness, thin.description) == (1.0, 'LUNG')
    assert (thick.uid, thick.instances, thick.thickness) == (THICK, 9, 5.0)


def test_one_series_of_an_address(filled: FakeServer) -> None:
    (thick,) = list_remote_series(address(filled, THICK), HASTY)

    assert thick.uid == THICK


@pytest.mark.parametrize(
    ('where', 'reason'),
    [
        ('/studies/1.8', 'no such examination'),
        (f'/studies/{STUDY}/series/1.5', 'no such series'),
        (f'/studies/{STUDY}/series/{OTHER}', r'no CT series \(1 of SR\)'),
    ],
)
def test_what_is_not_there(
    filled: FakeServer, where: str, reason: str
) -> None:
    with pytest.raises(ServerError, match=reason):
        list_remote_series(parse_address(filled.address + where), HASTY)


@pytest.mark.parametrize(
    'values',
    [
        {},
        {'0020000E': {'Value': ['../../x']}},
        {'0020000E': {'Value': [{'a': 1}]}},
        {'0020000E': 7},
    ],
)
def test_series_that_no_address_can_name(
    filled: FakeServer, values: dict
) -> None:
    values = {**values, '00080060': {'vr': 'CS', 'Value': ['CT']}}
    filled.faults = {'/series': [lambda handler: handler.json(200, [values])]}

    with pytest.raises(ServerError, match='a series without a UID'):
        list_remote_series(address(filled), HASTY)


def fetched(fake: FakeServer, folder: Path, **given: Any) -> list[bytes]:
    folder.mkdir()
    given = {'instances': 12, 'patience': HASTY, **given}
    fetch_series(address(fake, THIN), folder=folder, **given)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def stored(fake: FakeServer) -> list[bytes]:
    uids = [h.SOPInstanceUID for h in fake.headers(SeriesInstanceUID=THIN)]
    return [fake.files[uid] for uid in uids]


def test_files_come_as_they_are(filled: FakeServer, tmp_path: Path) -> None:
    assert fetched(filled, tmp_path / 'out') == stored(filled)


def test_what_is_cut_is_fetched_again(
    filled: FakeServer, tmp_path: Path
) -> None:
    filled.faults = {f'/series/{THIN}': [cut, status(503)]}

    assert fetched(filled, tmp_path / 'out') == stored(filled)
    assert len(filled.asked) == 3
    filled.faults = {f'/series/{THIN}': [cut] * 3}
    with pytest.raises(ServerError, match='ends before .* Tried 3 times'):
        fetched(filled, tmp_path / 'again')


def test_slices_that_are_missing(filled: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match='lists 13 instances but sent 12'):
        fetched(filled, tmp_path / 'out', instances=13)


def junk(handler: Handler) -> None:
    handler.parts([b'<html>DOE^JOHN'])


def twice(handler: Handler) -> None:
    (first, *_) = stored(handler.fake)
    handler.parts([first] * 12)


def another(handler: Handler) -> None:
    files = handler.fake.headers(SeriesInstanceUID=THICK)
    handler.parts([handler.fake.files[h.SOPInstanceUID] for h in files])


@pytest.mark.parametrize(
    ('behave', 'reason'),
    [
        (junk, 'file 1 .* is not a complete DICOM'),
        (twice, 'lists 12 instances but sent 1;'),
        (another, 'file 1 .* belongs to another series'),
    ],
)
def test_what_is_not_the_series(
    filled: FakeServer, tmp_path: Path, behave: Any, reason: str
) -> None:
    filled.faults = {f'/series/{THIN}': [behave]}

    with pytest.raises(ServerError, match=reason) as raised:
        fetched(filled, tmp_path / 'out')

    assert 'DOE' not in str(raised.value)


def test_more_files_than_a_series_has(
    filled: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServerError, match='lists 20001 instances'):
        fetched(filled, tmp_path / 'out', instances=20001)
    assert not filled.asked
    monkeypatch.setattr('lungdet.dicomweb.series.MAX_FILES', 11)

    with pytest.raises(ServerError, match='more than 11 files'):
        fetched(filled, tmp_path / 'more', instances=10)
    assert len([*(tmp_path / 'more').iterdir()]) == 11


def test_more_bytes_than_a_series_has(
    filled: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('lungdet.dicomweb.server.MAX_BYTES', 5000)

    with pytest.raises(ServerError, match='exceeds 5e[+]03 bytes'):
        fetched(filled, tmp_path / 'out')


def test_a_full_disk_is_said(
    filled: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, 'No space left on device', 'x')

    monkeypatch.setattr('builtins.open', full)

    with pytest.raises(OSError, match='No space left'):
        fetched(filled, tmp_path / 'out')


def test_a_count_of_5000_digits_is_no_count(filled: FakeServer) -> None:
    def answer(handler: Handler) -> None:
        series = handler.series(filled.headers(StudyInstanceUID=STUDY))
        for one in series:
            one['00201209'] = {'vr': 'IS', 'Value': ['9' * 5000]}
        handler.json(200, series)

    filled.faults['/series?'] = [answer]

    thin, _ = list_remote_series(address(filled), HASTY)

    assert thin.instances == 12


def test_a_class_that_is_no_text_is_none(filled: FakeServer) -> None:
    def answer(handler: Handler) -> None:
        instance = {
            '00080016': {'vr': 'UI', 'Value': [{}]},
            '00180050': {'vr': 'DS', 'Value': [[2.5]]},
        }
        handler.json(200, [instance])

    filled.faults['/instances?'] = [answer]

    first, *_ = list_remote_series(address(filled), HASTY)

    assert first.thickness == math.inf
