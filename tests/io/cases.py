"""A case of three arrays on a turned grid."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import Annotation, CaseNodule, CaseRecord

SHAPE = (67, 31, 130)  # 2 x 1 x 3 chunks, none of them full at the end
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(1.5, 1, 0.5), origin_xyz=(5, -7, 11), direction=TURN
)


def make_case(
    uid: str = '1.2', grid: Geometry = GRID
) -> tuple[CaseRecord, dict[str, np.ndarray]]:
    noise = np.random.default_rng(len(uid))
    mask = np.zeros(grid.shape, dtype=np.uint8)
    mask[2:5, 3:7, 4:9] = 1
    record = CaseRecord(
        uid,
        3,
        grid,
        GRID,
        1.0,
        [
            CaseNodule(
                1,
                (1.5, -2.25, 0.125),
                6.5,
                (1.0, 2.5, 3.0, 7.5, 9.0, 9.5),
                num_readers=3,
                has_mask=True,
                mask_box=(2.0, 3.0, 4.0, 5.0, 7.0, 9.0),
            )
        ],
        [Annotation((4.0, 5.0, 6.0), None), Annotation((1.0, 2.0, 3.0), 4.5)],
        'given',
        caveats=['slice 3 was missing'],
        settings={'spacing_mm': 1.0},
        patient_id='P1',
    )
    image = noise.integers(-1024, 3071, grid.shape).astype(np.int16)
    return record, {
        'image': image,
        'mask': mask,
        'lungs': noise.integers(0, 2, grid.shape).astype(np.uint8),
    }
