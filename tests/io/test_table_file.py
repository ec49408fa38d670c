from __future__ import annotations

import gzip
import hashlib
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from lungdet.errors import AnnotationError
from lungdet.io import table_file
from lungdet.io.luna16 import has_column, read_annotations, read_marks
from lungdet.io.table_file import TableFile, as_table

MARKS = 'seriesuid,coordX,coordY,coordZ,probability\n'


def rows_of(content: bytes, tmp_path: Path) -> list[list[str]]:
    (tmp_path / 't.csv').write_bytes(content)
    return [row for _, row in TableFile(tmp_path / 't.csv').rows()]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe into which a table is written once."""
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    writer = threading.Thread(
        target=path.write_text, args=(MARKS + 'a,1,2,3,0.5\n' * 9000,)
    )
    writer.start()
    yield path
    writer.join()


def test_a_pipe_is_read_once_for_its_digest_header_and_rows(
    pipe: Path,
) -> None:
    table = TableFile(pipe)

    assert has_column(table, 'probability')
    assert len(read_marks(table)['a'][1]) == 9000
    text = MARKS + 'a,1,2,3,0.5\n' * 9000
    assert table.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert as_table(table) is table


@pytest.mark.parametrize('end', [b'\n', b'\r\n', b'\r'])
@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1000])
def test_line_ends_of_every_system_wherever_a_part_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes, chunk: int
) -> None:
    monkeypatch.setattr(table_file, 'CHUNK_BYTES', chunk)
    lines = [b'\xef\xbb\xbfa,b', '"ü,1",2'.encode(), b'', b'3,4']

    rows = rows_of(end.join(lines), tmp_path)

    assert rows == [['a', 'b'], ['ü,1', '2'], [], ['3', '4']]


def test_text_of_other_encodings_is_named_by_its_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, 'CHUNK_BYTES', 4)
    for content, message in (
        ('a,b\n'.encode('utf-16'), 'not UTF-8 text .* at byte 0'),
        (b'a,b\nc,d\nx\xfc\n', 'not UTF-8 text .* at byte 9'),
        (b'a,b\nc\0,d\n', 'holds zero bytes'),
    ):
        with pytest.raises(AnnotationError, match=message):
            rows_of(content, tmp_path)


def test_millions_of_blank_lines_is_refused_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, 'MAX_LINES', 1_000_000)
    file = tmp_path / 'blank.csv.gz'
    file.write_bytes(gzip.compress(MARKS.encode() + b'\n' * 3_000_000, 1))

    tracemalloc.start()
    with pytest.raises(AnnotationError, match='more than 1e.06 lines'):
        read_marks(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 3e6


def test_a_line_without_end_and_a_file_too_large_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(AnnotationError, match='a line of more than'):
        rows_of(b'x' * 2_000_000, tmp_path)
    with open(tmp_path / 'sparse.csv', 'wb') as file:
        file.truncate(4_000_000_000)
    with pytest.raises(AnnotationError, match='holds more than 1e.09 bytes'):
        read_annotations(tmp_path / 'sparse.csv')


def test_a_pipe_is_read_if_somebody_writes_to_it(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)

    def write() -> None:
        time.sleep(0.2)
        pipe.write_bytes(b'a,b\n1,2\n')

    writer = Thread(target=write)
    writer.start()
    rows = [row for _, row in TableFile(pipe).rows()]
    writer.join()

    assert rows == [['a', 'b'], ['1', '2']]
    with pytest.raises(AnnotationError, match='without a writer'):
        list(TableFile(pipe).rows())
