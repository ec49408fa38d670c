from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis.nodule_pictures import write_nodule_pictures


def test_one_picture_per_nodule_up_to_the_limit(
    tiny_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'pictures'

    assert write_nodule_pictures(tiny_store, out, limit=3) == (3, 10)

    names = ['1.0_1.png', '1.0_2.png', '1.1_1.png']
    assert sorted(path.name for path in out.iterdir()) == names


def test_nothing_is_made_where_no_cases_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_nodule_pictures(tmp_path / 'no', tmp_path / 'out')

    assert not (tmp_path / 'out').exists()
