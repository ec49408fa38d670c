from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import AnnotationError, SeriesError
from lungdet.io import files
from lungdet.io.files import check_regular, is_litter, open_or_pipe, safe_name


@pytest.mark.parametrize(
    ('name', 'litter'),
    [
        ('._scan.nii.gz', True),
        ('.DS_Store', True),
        ('__MACOSX', True),
        ('Thumbs.db', True),
        ('scan.nii.gz', False),
        ('macosx', False),
    ],
)
def test_files_of_the_system_are_told_by_name(name: str, litter: bool) -> None:
    assert is_litter(Path('folder', name)) == litter


def test_links_to_files_are_files_and_pipes_are_not(tmp_path: Path) -> None:
    (tmp_path / 'a').write_bytes(b'four')
    (tmp_path / 'link').symlink_to(tmp_path / 'a')
    os.mkfifo(tmp_path / 'pipe')

    assert check_regular(tmp_path / 'link') == 4
    with pytest.raises(SeriesError, match='pipe: not a regular file'):
        check_regular(tmp_path / 'pipe')
    with pytest.raises(AnnotationError, match='not a regular file'):
        check_regular(tmp_path, error=AnnotationError)
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / 'absent')


def test_a_pipe_with_a_writer_is_read_whole(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'one,two\n',))
    writer.start()

    file, first = open_or_pipe(pipe)

    with file:
        assert first + file.read() == b'one,two\n'
    writer.join()


def test_a_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, 'WAIT_SECONDS', 0.1)
    os.mkfifo(tmp_path / 'pipe')

    with pytest.raises(SeriesError, match='a pipe without a writer'):
        open_or_pipe(tmp_path / 'pipe')


@given(st.lists(st.text(max_size=60), unique=True, max_size=20))
def test_safe_names_are_plain_and_differ(texts: list[str]) -> None:
    names = [safe_name(text) for text in texts]

    assert len(set(names)) == len(texts)
    for name in names:
        assert name.isascii() and not name.startswith(('.', '-'))
        assert not set(name) & set('/\\: \n') and 0 < len(name) <= 100


@pytest.mark.parametrize(
    'text', ['', '.', '..', 'a/b', '-x', 'CON', 'lpt1.txt', 'a.', 'x' * 300]
)
def test_names_that_no_file_may_have(text: str) -> None:
    assert safe_name(text) != text
    assert safe_name('1.3.6.1.4') == '1.3.6.1.4'
    assert safe_name('\udcff') != safe_name('\udcfe')
