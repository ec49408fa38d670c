from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.io.images import hu, write_nrrd


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'data_file': '../secret.raw'}, 'voxels are in another file'),
        ({'datafile': '/etc/passwd'}, 'voxels are in another file'),
        ({'data_file': 'LIST'}, 'voxels are in another file'),
        ({'space_directions': None}, 'spacings is'),
        (
            {'space_directions': None, 'spacings': 'nan 4 5'},
            "spacings is 'nan 4 5'",
        ),
        ({'space_directions': '(nan,0,0) (0,4,0) (0,0,5)'}, 'directions is'),
        ({'space_directions': '(0,0,0) (0,4,0) (0,0,5)'}, 'spacing 0 mm'),
        ({'space_directions': 'none (3,0,0) (0,4,0) (0,0,5)'}, 'directions'),
        ({'space_directions': '(3,2,0) (0,4,0) (0,0,5)'}, 'not orthonormal'),
        ({'sizes': '100000 100000 100000'}, 'image claims'),
        ({'sizes': '18 17 17'}, '9792 bytes of voxels, .* promises 10404'),
        ({'sizes': 'a b c'}, "sizes is 'a b c'"),
        ({'type': 'block'}, "NRRD type 'block'"),
        ({'Sizes': '18 17 16'}, 'sizes stands twice'),
    ],
)
def test_defective_nrrd_headers_are_refused(
    tmp_path: Path, rng: np.random.Generator, changes: dict, reason: str
) -> None:
    folder = tmp_path / 'scan'
    folder.mkdir()
    array = hu(rng)
    (tmp_path / 'secret.raw').write_bytes(array.tobytes())
    path = write_nrrd(folder, array.tobytes(), **changes)

    with pytest.raises(SeriesError, match=reason) as caught:
        load_volume(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({}, None),
        (
            {
                'space': None,
                'space_directions': None,
                'space_origin': None,
                'spacings': '3.5 4 5',
            },
            'no patient space',
        ),
        ({'space': 'scanner-xyz'}, "space is 'scanner-xyz'"),
        ({'space_origin': None}, 'no space origin'),
    ],
)
def test_nrrd_without_a_place_says_so(
    tmp_path: Path, rng: np.random.Generator, changes: dict, text: str | None
) -> None:
    array = hu(rng)

    volume = load_volume(write_nrrd(tmp_path, array.tobytes(), **changes))

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.geometry.spacing, (5, 4, 3.5))
    assert (text or '') in ' '.join(volume.caveats)
    assert bool(volume.caveats) == (text is not None)
