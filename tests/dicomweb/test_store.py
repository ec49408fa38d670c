from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from lungdet.dicomweb import ServerError, parse_address, store_files
from lungdet.errors import SeriesError
from tests.dicom_series import labelled, write_slice
from tests.dicomweb.conftest import HASTY
from tests.dicomweb.fake_server import (
    Behave,
    FakeServer,
    hang_up,
    redirect,
    status,
)

STUDY = '1.9'


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    edit = labelled(StudyInstanceUID=STUDY)
    plane = np.full((16, 24), -800.0)
    return [write_slice(tmp_path, k, plane, edit=edit) for k in range(3)]


def outcomes(fake: FakeServer, paths: list[Path]) -> list[str | None]:
    every = store_files(parse_address(fake.of(STUDY)), paths, HASTY)
    for one, path in zip(every, paths, strict=True):
        assert one.name == path.name
        assert one.uid == dcmread(path).SOPInstanceUID
    return [one.failure for one in every]


def test_files_arrive_as_they_are(
    server: FakeServer, paths: list[Path]
) -> None:
    assert outcomes(server, paths) == [None] * 3

    assert [*server.files.values()] == [p.read_bytes() for p in paths]
    ((method, path, headers),) = server.asked
    assert (method, path) == ('POST', f'/dicom-web/studies/{STUDY}')
    assert 'type="application/dicom"' in headers['Content-Type']


def test_each_file_has_its_own_outcome(
    server: FakeServer, paths: list[Path]
) -> None:
    odd = dcmread(paths[1])
    odd.SOPClassUID = odd.file_meta.MediaStorageSOPClassUID = '1.2.3'
    odd.save_as(paths[1])
    server.refused = ('1.2.3',)

    assert outcomes(server, paths) == [
        None,
        'refused: SOP class not supported (0x0122)',
        None,
    ]
    server.refused = ('1.2.3', CTImageStorage)  # 409: none is taken
    assert None not in outcomes(server, paths)


@pytest.mark.parametrize(
    ('reason', 'words'),
    [
        (0xA701, 'refused: out of resources (0xA701)'),
        (0xC123, 'refused: not understood (0xC123)'),
        (0x9999, 'refused (0x9999)'),
        ('x', 'refused without a reason'),
    ],
)
def test_reasons_by_their_names(
    server: FakeServer, paths: list[Path], reason: object, words: str
) -> None:
    failed = {
        '00081155': {'Value': [dcmread(paths[0]).SOPInstanceUID]},
        '00081197': {'Value': [reason]},
    }
    answer = {'00081198': {'Value': [failed]}}
    server.faults = {'/studies': [lambda handler: handler.json(202, answer)]}

    first, *others = outcomes(server, paths)

    assert first == words
    assert others == ['not confirmed by the server'] * 2


@pytest.mark.parametrize('behave', [status(200), status(409)])
def test_an_answer_without_a_word_confirms_nothing(
    server: FakeServer, paths: list[Path], behave: Behave
) -> None:
    server.faults = {'/studies': [behave]}

    assert outcomes(server, paths) == ['not confirmed by the server'] * 3


@pytest.mark.parametrize(
    ('behave', 'reason'),
    [
        (status(401), 'refuses access'),
        (status(413), 'not accept files of this size'),
        (redirect('/login'), 'redirects the upload'),
        (hang_up, 'was lost .* Tried 3 times'),
    ],
)
def test_a_server_that_refuses_everything(
    server: FakeServer, paths: list[Path], behave: Behave, reason: str
) -> None:
    server.faults = {'/': [behave] * 3}

    with pytest.raises(ServerError, match=reason):
        outcomes(server, paths)


def test_what_passes_is_tried_again(
    server: FakeServer, paths: list[Path]
) -> None:
    server.faults = {'/studies': [hang_up, status(503)]}

    assert outcomes(server, paths) == [None] * 3


def test_only_dicom_is_sent(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / 'x.dcm').write_text('no DICOM')

    with pytest.raises(SeriesError, match='x.dcm: '):
        outcomes(server, [tmp_path / 'x.dcm'])
    assert not server.asked
