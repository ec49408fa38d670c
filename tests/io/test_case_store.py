from __future__ import annotations

import errno
import json
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import SeriesError, explain
from lungdet.geometry import Geometry
from lungdet.io.case_store import (
    MAX_OPEN,
    CaseStore,
    rebuild_index,
    stored_settings,
    write_case,
)
from lungdet.structures import CaseRecord
from tests.io.cases import GRID, SHAPE, make_case
from tests.prepare.scans import contents
from tests.schemas import assert_valid


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


def test_a_store_follows_its_schemas(
    stored: tuple[CaseStore, np.ndarray],
) -> None:
    root = stored[0].root

    index = json.loads((root / 'index.json').read_text())

    assert_valid('index', index)
    (path,) = root.glob('cases/*.json')
    assert_valid('case', json.loads(path.read_text()))
    assert [case['series_uid'] for case in index['cases']] == ['1.2']


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
    index = (tmp_path / 'index.json').read_bytes()
    other = Geometry((66, 31, 130), GRID.affine)
    write_case(tmp_path, *make_case(grid=other))
    (tmp_path / 'index.json').write_bytes(index)  # as a copy of a store has

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


@pytest.mark.parametrize('stopped_at', [1, 3, 4])
def test_full_disk_leaves_the_older_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """Three arrays and a record are written aside before anything goes."""
    record, arrays = make_case()
    write_case(tmp_path, record, arrays)
    rebuild_index(tmp_path)
    before = contents(tmp_path)
    write_bytes, calls = Path.write_bytes, []

    def full_disk(path: Path, content: bytes) -> int:
        calls.append(path)
        if len(calls) == stopped_at:
            write_bytes(path, content[:100])
            raise OSError(errno.ENOSPC, 'No space left on device')
        return write_bytes(path, content)

    monkeypatch.setattr(Path, 'write_bytes', full_disk)
    with pytest.raises(OSError) as caught:
        write_case(
            tmp_path,
            replace(record, spacing_mm=2.0),
            {**arrays, 'mask': 1 - arrays['mask']},
        )

    line = explain(caught.value)
    assert '1.2.image.b2nd: no space left on device' in line
    assert 'Free some space' in line
    assert contents(tmp_path) == before
    CaseStore(tmp_path).verify('1.2')


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


def damaged(root: Path, name: str) -> None:
    """Flip bytes that blosc2 itself does not miss."""
    record, arrays = make_case()
    other = {**arrays, name: arrays[name].copy()}
    other[name][40, 5, 100] ^= 1
    write_case(root / 'other', record, other)
    file = f'cases/1.2.{name}.b2nd'
    (root / file).write_bytes((root / 'other' / file).read_bytes())


@pytest.mark.parametrize('name', ['image', 'lungs', 'mask'])
def test_other_values_are_found_at_the_first_use(
    tmp_path: Path, name: str
) -> None:
    """Also where the region that is read is whole."""
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    damaged(tmp_path, name)

    with pytest.raises(SeriesError, match=rf'1\.2\.{name}\.b2nd: checksum'):
        CaseStore(tmp_path).read('1.2', name, (slice(0, 2),) * 3)


def test_an_array_is_checked_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    checked = []
    monkeypatch.setattr(
        'lungdet.io.case_store.check_array', lambda *args: checked.append(args)
    )
    store = CaseStore(tmp_path)

    for _ in range(3):
        store.read('1.2', 'image', (slice(0, 2),) * 3)
        pickle.loads(pickle.dumps(store)).read('1.2', 'image')

    assert len(checked) == 1


def test_a_pipe_is_no_array_and_no_record(tmp_path: Path) -> None:
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    for name in ('1.2.image.b2nd', '1.2.json'):
        (tmp_path / 'cases' / name).unlink()
        os.mkfifo(tmp_path / 'cases' / name)

    with pytest.raises(SeriesError, match='image.b2nd: missing or damaged'):
        CaseStore(tmp_path).read('1.2', 'image')
    with pytest.raises(SeriesError, match=r'1\.2\.json: not a JSON file'):
        rebuild_index(tmp_path)


def test_an_edited_record_is_not_taken(tmp_path: Path) -> None:
    write_case(tmp_path, *make_case())
    rebuild_index(tmp_path)
    for path in (tmp_path / 'cases' / '1.2.json', tmp_path / 'index.json'):
        path.write_text(path.read_text().replace('6.5', '7.5'))

    assert stored_settings(tmp_path, '1.2') is None
    with pytest.raises(SeriesError, match='index.json: case 1.2 was edited'):
        CaseStore(tmp_path)
    with pytest.raises(SeriesError, match='edited .* Prepare the scan again'):
        rebuild_index(tmp_path)


def test_records_of_earlier_versions_are_read_but_not_done(
    tmp_path: Path,
) -> None:
    """They have no checksum of their own that would show an edit."""
    write_case(tmp_path, *make_case())
    path = tmp_path / 'cases' / '1.2.json'
    values = json.loads(path.read_text())
    del values['digest']
    path.write_text(json.dumps(values))

    assert [r.series_uid for r in rebuild_index(tmp_path)] == ['1.2']
    assert stored_settings(tmp_path, '1.2') is None


@pytest.mark.parametrize(
    'change',
    [
        lambda v: v.update(checksums={}),
        lambda v: v['checksums'].pop('image'),
        lambda v: v.update(checksums=[1]),
        lambda v: v.update(series_uid='../../evil'),
        lambda v: v.update(spacing_mm='1'),
        lambda v: v.update(spacing_mm=float('nan')),
        lambda v: v.update(nodules={'a': 1}),
        lambda v: v['nodules'][0].update(box=[1, 2]),
        lambda v: v['nodules'][0].update(center_mm=None),
        lambda v: v.update(geometry=[]),
        lambda v: v['geometry'].update(shape=[1, 2]),
        lambda v: v['geometry'].update(affine='x'),
        lambda v: v.update(caveats=[1]),
        lambda v: v.pop('format'),
    ],
)
def test_records_of_another_shape_are_named(
    tmp_path: Path, change: Callable[[dict], None]
) -> None:
    write_case(tmp_path, *make_case())
    path = tmp_path / 'cases' / '1.2.json'
    values = json.loads(path.read_text())
    del values['digest']
    change(values)
    path.write_text(json.dumps(values))

    with pytest.raises(SeriesError, match=r'1\.2\.json: '):
        rebuild_index(tmp_path)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '"a"',
        'null',
        '[' * 100_000,
        '{"format": "lungdet.index/1"}',
        '{"format": "lungdet.index/1", "cases": {}}',
        '{"format": "lungdet.index/1", "cases": [3]}',
        '{"format": "lungdet.index/1", "cases": [{}]}',
        '\xff',
    ],
)
def test_an_index_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / 'index.json').write_bytes(text.encode('latin-1'))

    with pytest.raises(SeriesError, match=r'index\.json: '):
        CaseStore(tmp_path)


def test_verify_finds_arrays_that_no_record_lists(tmp_path: Path) -> None:
    record, arrays = make_case()
    write_case(tmp_path, record, arrays)
    mask = tmp_path / 'cases' / '1.2.mask.b2nd'
    content = mask.read_bytes()
    del arrays['mask']
    write_case(tmp_path, record, arrays)
    rebuild_index(tmp_path)
    CaseStore(tmp_path).verify('1.2')
    mask.write_bytes(content)

    with pytest.raises(SeriesError, match='mask.b2nd: the record'):
        CaseStore(tmp_path).verify('1.2')


def test_verify_finds_a_case_that_is_newer_than_the_index(
    tmp_path: Path,
) -> None:
    record, arrays = make_case()
    write_case(tmp_path, record, arrays)
    rebuild_index(tmp_path)
    index = (tmp_path / 'index.json').read_bytes()
    write_case(tmp_path, replace(record, patient_id='P2'), arrays)
    (tmp_path / 'index.json').write_bytes(index)

    with pytest.raises(SeriesError, match=r'1\.2\.json: differs from'):
        CaseStore(tmp_path).verify('1.2')
