from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.io.atomic import atomic_path, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'a.nii.gz'
    write_text(path, 'old')

    with atomic_path(path) as aside:
        assert aside.parent == path.parent
        assert aside.name.endswith('.nii.gz')  # writers go by the suffix
        aside.write_text('new')
        assert path.read_text() == 'old'

    assert path.read_text() == 'new'
    assert [one.name for one in path.parent.iterdir()] == ['a.nii.gz']


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_text(path, 'old')

    with pytest.raises(KeyboardInterrupt), atomic_path(path) as aside:
        aside.write_text('half')
        raise KeyboardInterrupt

    assert path.read_text() == 'old'
    assert [one.name for one in tmp_path.iterdir()] == ['a.json']


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / 'a.txt', 'größe\nmm\n')

    assert (tmp_path / 'a.txt').read_bytes() == 'größe\nmm\n'.encode()
