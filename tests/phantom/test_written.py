from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.phantom import Phantom, write, write_luna16_phantoms, written
from lungdet.structures import Annotation, Volume
from tests.prepare.scans import contents


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The seeds of all phantoms that are rendered."""
    grid = Geometry((2, 3, 4), np.eye(4))
    calls = []

    def make(seed: object, **_: object) -> Phantom:
        calls.append(seed)
        image = np.zeros((2, 3, 4), dtype=np.int16)
        rows = [Annotation((1.0, 2.0, 0.1 + 0.2), 5.5)]
        return Phantom(
            Volume(image, grid),
            rows,
            [Annotation((0.0, 1.0, 2.0), None)],
            image.astype(np.uint8),
            image.astype(np.uint8),
        )

    monkeypatch.setattr(write, 'make_phantom', make)
    return calls


def test_phantoms_that_are_there_are_not_rendered_again(
    tmp_path: Path, rendered: list[object]
) -> None:
    write_luna16_phantoms(tmp_path, scans=2, seed=3, progress=False)
    before = contents(tmp_path)

    write_luna16_phantoms(tmp_path, scans=2, seed=3, progress=False)

    assert rendered == [[3, 0], [3, 1]]
    assert contents(tmp_path) == before
    assert (
        '0.30000000000000004,5.5' in (tmp_path / 'annotations.csv').read_text()
    )


@pytest.mark.parametrize(
    'where', ['voxels', 'lungs', 'xml', 'note', 'code', 'size']
)
def test_what_changed_is_rendered_again(
    tmp_path: Path,
    rendered: list[object],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_luna16_phantoms(tmp_path, scans=2, seed=3, progress=False)
    before = contents(tmp_path)
    uid = write.phantom_uid(3, 1)
    size = 'full'
    if where == 'voxels':
        (tmp_path / 'subset1' / f'{uid}.zraw').write_bytes(b'cut')
    elif where == 'lungs':
        (tmp_path / 'seg-lungs-LUNA16' / f'{uid}.mhd').unlink()
    elif where == 'xml':
        (tmp_path / 'xml' / f'{uid}.xml').write_text('<other/>')
    elif where == 'note':
        note = tmp_path / 'written' / f'{uid}.json'
        note.write_text(note.read_text().replace('5.5', '6.5'))
    elif where == 'code':
        monkeypatch.setattr(written.np, '__version__', '0')
    else:
        size = 'small'

    write_luna16_phantoms(tmp_path, scans=2, seed=3, size=size, progress=False)

    assert rendered[2:] == (
        [[3, 0], [3, 1]] if where in ('code', 'size') else [[3, 1]]
    )
    if where not in ('code', 'size'):
        assert contents(tmp_path) == before
