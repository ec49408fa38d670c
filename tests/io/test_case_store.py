from __future__ import annotations

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.case_store import (
    MAX_OPEN,
    CaseStore,
    rebuild_index,
    write_case,
)
from lungdet.structures import CaseRecord
from tests.io.cases import GRID, SHAPE, make_case


@pytest.fixture(scope='module')
def stored() -> tuple[CaseStore, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        record, arrays = make_case()
        write_case(folder, record, arrays)
        rebuild_index(folder)
        yield CaseStore(folder), arrays['image']


@given(st.data())
def test_region_equals_slicing(
    stored: tuple[CaseStore, np.ndarray], data: st.DataObject
) -> None:
    store, image = stored
    ends = [
        sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in SHAPE
    ]
    region = tuple(slice(*pair) for pair in ends)

    np.testing.assert_array_equal(
        store.read('1.2', 'image', region), image[region]
    )


def test_index_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'index.json').write_text('{"format": "other", "cases": []}')
    with pytest.raises(SeriesError, match=r"index\.json: format 'other'"):
        CaseStore(tmp_path)


def test_flipped_byte_and_cut_file_are_found(tmp_path: Path) -> None:
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    CaseStore(tmp_path).verify('1.2')
    path = tmp_path / 'cases' / '1.2.image.b2nd'
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255

    path.write_bytes(content)
    with pytest.raises(SeriesError, match=r'1\.2\.image\.b2nd'):
        CaseStore(tmp_path).verify('1.2')
    path.write_bytes(content[:100])
    with pytest.raises(SeriesError, match='prepare it again'):
        CaseStore(tmp_path).read('1.2', 'image')


def test_array_of_another_shape_than_the_index_says(tmp_path: Path) -> None:
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    other = Geometry((66, 31, 130), GRID.affine)
    write_case(tmp_path, *make_case(grid=other))

    with pytest.raises(SeriesError, match=r'shape \(66, .* says \(67, '):
        CaseStore(tmp_path).read('1.2', 'image')


def test_store_crosses_processes_closed(
    stored: tuple[CaseStore, np.ndarray],
) -> None:
    store, image = stored
    store.read('1.2', 'image')

    copy = pickle.loads(pickle.dumps(store))

    assert store.num_open == 1 and copy.num_open == 0
    np.testing.assert_array_equal(copy.read('1.2', 'image'), image)


def test_store_without_index_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='lungdet prepare'):
        CaseStore(tmp_path)


def test_files_of_a_killed_writer_are_passed_over(tmp_path: Path) -> None:
    write_case(tmp_path, *make_case())
    cases = tmp_path / 'cases'
    (cases / '.tmp-9-1.3.json').write_text('{"series_uid": "1.')
    (cases / '.tmp-9-1.3.image.b2nd').write_bytes(b'half')

    rebuild_index(tmp_path)

    assert list(CaseStore(tmp_path).records) == ['1.2']
    (cases / '1.4.json').write_text('{"series_uid": "1.')
    with pytest.raises(SeriesError, match=r'1\.4\.json: not JSON'):
        rebuild_index(tmp_path)


def test_rewriting_that_fails_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import blosc2

    write_case(tmp_path, *make_case())
    real, calls = blosc2.asarray, []

    def full_disk(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            Path(str(kwargs['urlpath'])).write_bytes(b'half')
            raise OSError('No space left on device')
        return real(*args, **kwargs)

    monkeypatch.setattr(blosc2, 'asarray', full_disk)
    with pytest.raises(OSError, match='No space'):
        write_case(tmp_path, *make_case())

    names = [path.name for path in (tmp_path / 'cases').iterdir()]
    assert '1.2.json' not in names
    assert not [name for name in names if name.startswith('.tmp')]
    assert rebuild_index(tmp_path) == []


def test_rewriting_without_a_mask_drops_the_old_one(tmp_path: Path) -> None:
    record, arrays = make_case()
    write_case(tmp_path, record, arrays)
    del arrays['mask']
    write_case(tmp_path, record, arrays)
    rebuild_index(tmp_path)

    store = CaseStore(tmp_path)

    assert not store.has('1.2', 'mask')
    assert not (tmp_path / 'cases' / '1.2.mask.b2nd').exists()
    store.verify('1.2')


@pytest.mark.parametrize('uid', ['../evil', 'a/b', '.hidden', '', 'a\n'])
def test_uid_that_is_no_file_name_is_refused(tmp_path: Path, uid: str) -> None:
    root = tmp_path / 'store'
    record, arrays = make_case()

    with pytest.raises(SeriesError, match='series uid'):
        write_case(root, replace(record, series_uid=uid), arrays)

    assert not list(tmp_path.rglob('*'))


@pytest.mark.parametrize(
    ('name', 'array', 'words'),
    [
        ('image', np.zeros(SHAPE, np.float32), 'is float32 of shape'),
        ('lungs', np.zeros((3, 4, 5), np.uint8), r'shape \(67, 31, 130\)'),
        ('label', np.zeros(SHAPE, np.uint8), "called 'label'"),
    ],
)
def test_array_that_is_not_the_records_is_refused(
    tmp_path: Path, name: str, array: np.ndarray, words: str
) -> None:
    record, arrays = make_case()

    with pytest.raises(SeriesError, match=words):
        write_case(tmp_path, record, {**arrays, name: array})


def test_few_arrays_stay_open(tmp_path: Path) -> None:
    grid = Geometry((3, 4, 5), np.eye(4))
    uids = [f'1.{k}' for k in range(MAX_OPEN + 3)]
    truth = {}
    for uid in uids:
        image = np.full(grid.shape, int(uid[2:]), dtype=np.int16)
        record = CaseRecord(uid, 0, grid, grid, 1.0, [], [], 'failed')
        write_case(tmp_path, record, {'image': image})
        truth[uid] = image
    rebuild_index(tmp_path)
    store = CaseStore(tmp_path)

    for uid in [*uids, *uids[::-1]]:
        np.testing.assert_array_equal(store.read(uid, 'image'), truth[uid])
        assert store.num_open <= MAX_OPEN
