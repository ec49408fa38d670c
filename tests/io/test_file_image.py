from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.file_image import FileImage
from lungdet.io.image import LOADERS, load_volume
from tests.io.images import hu


def test_a_reader_of_another_format_is_one_line(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_npy(path: Path) -> FileImage:
        array = np.load(path)
        grid = Geometry.from_itk(
            array.shape[::-1], spacing=(3.5, 4, 5), origin=(1, 2, 3)
        )
        return FileImage(str(path), array, grid, ('no header',))

    monkeypatch.setitem(LOADERS, '.npy', read_npy)
    array = hu(rng)
    np.save(tmp_path / 'scan.1.npy', array)

    volume = load_volume(tmp_path / 'scan.1.npy')

    np.testing.assert_array_equal(volume.array, array)
    assert volume.series_uid == 'scan.1'
    assert volume.caveats == ['no header']
    assert volume.geometry.spacing.tolist() == [5, 4, 3.5]
