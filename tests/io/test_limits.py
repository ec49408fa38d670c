from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.limits import check_chest, check_grid


@pytest.mark.parametrize(
    ('shape', 'spacing', 'itemsize', 'reason'),
    [
        ((4, 5), (1, 1), 2, 'expected one 3D channel'),
        ((4, 5, 6, 2), (1, 1, 1, 1), 2, 'expected one 3D channel'),
        ((4, 0, 6), (1, 1, 1), 2, 'an axis without voxels'),
        ((4, -5, 6), (1, 1, 1), 2, 'an axis without voxels'),
        # 2 ** 72 voxels, which wraps to 0 in 64 bits
        ((1 << 24, 1 << 24, 1 << 24), (1, 1, 1), 2, 'image claims'),
        ((1000, 1000, 500), (1, 1, 1), 8, 'image claims'),  # 4 GB
        ((4, 5, 6), (1, 0.04, 1), 2, 'spacing 0.04 mm'),
        ((4, 5, 6), (1, 1, 21), 2, 'spacing 21 mm'),
        ((4, 5, 6), (1, np.nan, 1), 2, 'spacing nan mm'),
        ((400, 5, 6), (7, 1, 1), 2, 'an extent of 2800 mm'),
    ],
)
def test_grids_of_no_image(
    shape: tuple, spacing: tuple, itemsize: int, reason: str
) -> None:
    with pytest.raises(SeriesError, match=f'x.mhd: .*{reason}'):
        check_grid('x.mhd', shape, spacing, itemsize)


def test_the_largest_scans_pass() -> None:
    check_grid('x.mhd', (1000, 1024, 1024), (0.6, 0.4, 0.4), 2)
    check_chest(
        'x.mhd',
        Geometry.from_parts(
            (8, 16, 16), spacing_zyx=(20, 10, 4), origin_xyz=(0, 0, 0)
        ),
    )
