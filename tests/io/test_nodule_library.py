"""A nodule library is read as it was written, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.json_file import with_digest
from lungdet.io.nodule_library import read_library, write_library
from tests.io.nodules import ball_nodule


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / 'nodules.npz'
    write_library(
        path,
        [
            ball_nodule('a', shape=(5, 20, 31), ratings={'Texture': 3.0}),
            ball_nodule(
                'b', site='pleura', wall_mm=0.5, wall_direction=(0.6, -0.8)
            ),
        ],
    )
    return path


def rewritten(path: Path, **changes: object) -> Path:
    """The library with other values in its records, checksum included."""
    with np.load(path) as stored:
        arrays = dict(stored)
    content = json.loads(arrays['records'].tobytes())
    content['nodules'][0].update(changes)
    text = json.dumps(with_digest(content)).encode()
    np.savez(path, **{**arrays, 'records': np.frombuffer(text, np.uint8)})
    return path


def test_nodules_come_back_in_order(library: Path) -> None:
    first, second = read_library(library)

    wanted = ball_nodule('a', shape=(5, 20, 31))
    assert (first.hu == wanted.hu).all() and (first.mask == wanted.mask).all()
    assert first.hu.dtype == np.int16 and first.mask.dtype == bool
    assert (first.name, first.patient, first.series_uid) == (
        'a',
        'P-a',
        '1.2.a',
    )
    assert first.ratings == {'Texture': 3.0} and first.wall_direction is None
    assert (second.site, second.wall_mm) == ('pleura', 0.5)
    assert second.wall_direction == (0.6, -0.8)
    assert second.spacing == (2.0, 0.7, 0.7)


def test_equal_nodules_give_equal_bytes(tmp_path: Path) -> None:
    for name in ('one.npz', 'two.npz'):
        write_library(tmp_path / name, [ball_nodule('a')])

    one, two = (tmp_path / name for name in ('one.npz', 'two.npz'))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'site': 'heart'}, 'not a site'),
        ({'shape': [5, 20, 30]}, 'the records say'),
        ({'diameter_mm': 'wide'}, 'not a number'),
        ({'wall_direction': [1.0]}, 'not 2 numbers'),
    ],
)
def test_other_values_are_refused(
    library: Path, changes: dict, reason: str
) -> None:
    with pytest.raises(SeriesError, match=reason):
        read_library(rewritten(library, **changes))


def test_an_edited_library_is_refused(library: Path) -> None:
    with np.load(library) as stored:
        arrays = dict(stored)
    arrays['hu'][7] += 1
    np.savez(library, **arrays)

    with pytest.raises(SeriesError, match='checksum differs'):
        read_library(library)


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='lungdet prepare nodules'):
        read_library(tmp_path / 'none.npz')
    (tmp_path / 'text.npz').write_text('seriesuid\n')
    with pytest.raises(SeriesError, match='not a nodule library'):
        read_library(tmp_path / 'text.npz')
    np.savez(tmp_path / 'other.npz', hu=np.zeros(3))
    with pytest.raises(SeriesError, match='not a nodule library'):
        read_library(tmp_path / 'other.npz')
    with pytest.raises(SeriesError, match='no nodule to write'):
        write_library(tmp_path / 'empty.npz', [])
    assert not (tmp_path / 'empty.npz').exists()
