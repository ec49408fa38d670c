from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.phantom import Phantom, write, write_luna16_phantoms
from lungdet.structures import Volume


def empty_phantom(*_: object, **__: object) -> Phantom:
    grid = Geometry((2, 3, 4), np.eye(4))
    image, labels = np.zeros((2, 2, 3, 4), dtype=np.int16)
    return Phantom(Volume(image, grid), [], [], labels, labels)


@pytest.mark.parametrize(('seed', 'scans'), [(4, 2), (3, 1)])
def test_folder_with_other_phantoms_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, scans: int
) -> None:
    """Of another seed, or more of the same seed."""
    monkeypatch.setattr(write, 'make_phantom', empty_phantom)
    write_luna16_phantoms(tmp_path, scans=2, seed=3, progress=False)
    (tmp_path / 'subset0' / '.tmp-1-x.mhd').touch()  # of a killed run
    before = (tmp_path / 'seriesuids.csv').read_bytes()

    with pytest.raises(
        ConfigError, match=r'such as .*\.3\.\d\.mhd; .* Remove'
    ):
        write_luna16_phantoms(tmp_path, scans=scans, seed=seed, progress=False)

    assert (tmp_path / 'seriesuids.csv').read_bytes() == before
    assert not list(tmp_path.rglob('*.4.*'))
    uids = write_luna16_phantoms(tmp_path, scans=3, seed=3, progress=False)
    assert len(uids) == len(list(tmp_path.glob('subset?/[!.]*.mhd'))) == 3


def test_a_call_that_is_stopped_leaves_no_tables_of_other_phantoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would name the nodules of scans that were written over."""
    monkeypatch.setattr(write, 'make_phantom', empty_phantom)
    write_luna16_phantoms(tmp_path, scans=2, seed=3, progress=False)
    assert len(list(tmp_path.glob('*.csv'))) == 3

    def stop(*_: object, **__: object) -> Phantom:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, 'make_phantom', stop)
    with pytest.raises(KeyboardInterrupt):
        write_luna16_phantoms(
            tmp_path, scans=2, seed=3, size='small', progress=False
        )

    assert not list(tmp_path.glob('*.csv'))
