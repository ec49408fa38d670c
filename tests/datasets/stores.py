"""Small prepared folders that the tests of data sets read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.datasets import LUNA16Dataset
from lungdet.geometry import Geometry
from lungdet.io.case_store import rebuild_index, write_case
from lungdet.structures import Annotation, CaseNodule, CaseRecord

TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
CUBES_GRID = Geometry.from_parts(
    (70, 80, 90), spacing_zyx=(1, 1, 1), origin_xyz=(5, -7, 11), direction=TURN
)
BALLS_GRID = Geometry.from_parts(
    (70, 85, 100),
    spacing_zyx=(1, 1, 1),
    origin_xyz=(5, -7, 11),
    direction=TURN,
)
LUNGS_GRID = Geometry.from_parts(
    (60, 70, 80), spacing_zyx=(1, 1, 1), origin_xyz=(5, -7, 11)
)
# two touching cubes and one far away, as integer boxes
CUBES = [
    (20, 30, 40, 28, 38, 48),
    (20, 30, 48, 28, 38, 56),
    (50, 10, 10, 56, 16, 16),
]
# centre (z, y, x) and radius; the first two touch, the third is at a corner
BALLS = [((30, 40, 45), 5), ((30, 40, 55), 5), ((9, 8, 90), 6)]
LONE_FINDING = (30.0, 60.0, 50.0)  # excluded, of no known diameter
FULL_TURN = {
    'type': 'RandomAffine3D',
    'scale': (0.75, 1.3),
    'scale_prob': 1.0,
    'degrees': 180,
    'rotate_prob': 1.0,
}
SPATIAL = {
    'signed': [
        {'type': 'RandomFlip3D'},
        {'type': 'RandomTransposeXY', 'prob': 1.0},
    ],
    'turned': [FULL_TURN],
    'all': [
        {'type': 'RandomFlip3D'},
        {'type': 'RandomTransposeXY'},
        FULL_TURN,
        {'type': 'RandomFlip3D'},
    ],
}


def world_point(
    grid: Geometry, index_zyx: tuple[float, ...]
) -> tuple[float, float, float]:
    x, y, z = grid.to_world(np.array([index_zyx], dtype=float))[0].tolist()
    return x, y, z


def write_cubes(
    root: Path, uid: str, subset: int | None, patient: str | None = None
) -> None:
    """Three cubes; one excluded finding at the first, one far from all."""
    grid = CUBES_GRID
    image = np.full(grid.shape, -900, dtype=np.int16)
    mask, lungs = np.zeros((2, *grid.shape), dtype=np.uint8)
    lungs[30:40, 30:40, 60:70] = 1
    nodules = []
    for number, cube in enumerate(CUBES, start=1):
        z1, y1, x1, z2, y2, x2 = cube
        image[z1:z2, y1:y2, x1:x2] = 100 * number
        mask[z1:z2, y1:y2, x1:x2] = number
        center = tuple(grid.box_center_world(np.array([cube]))[0].tolist())
        box = tuple(float(v) for v in cube)
        nodules.append(
            CaseNodule(number, center, float(z2 - z1), box, 4, True, cube)
        )
    excluded = [
        Annotation(nodules[0].center_mm, 5.0),
        Annotation(world_point(grid, (60, 60, 60)), None),
    ]
    record = CaseRecord(
        uid,
        subset,
        grid,
        grid,
        1.0,
        nodules,
        excluded,
        'computed',
        patient_id=patient,
    )
    write_case(root, record, {'image': image, 'mask': mask, 'lungs': lungs})


def cubes_store(root: Path) -> Path:
    """One scan each to train (1.1), validate (1.2) and test (1.3)."""
    for uid, subset in (('1.1', 0), ('1.2', 8), ('1.3', 9)):
        write_cubes(root, uid, subset)
    rebuild_index(root)
    return root


def write_balls(root: Path, uid: str, subset: int, nodules: bool) -> None:
    """A smooth image, balls as nodules or none, and a lone finding."""
    grid = BALLS_GRID
    # smooth, so that linear interpolation is near the truth everywhere
    image = np.random.default_rng(5).normal(size=grid.shape)
    image = image.cumsum(0).cumsum(1).cumsum(2)
    image = (image / np.abs(image).max() * 900).astype(np.int16)
    mask, lungs = np.zeros((2, *grid.shape), dtype=np.uint8)
    lungs[40:50, 20:30, 60:80] = 1
    case_nodules = []
    for number, (center, radius) in enumerate(BALLS if nodules else [], 1):
        away = np.indices(grid.shape) - np.reshape(center, (3, 1, 1, 1))
        mask[((away**2).sum(0) <= radius**2) & (mask == 0)] = number
        world = world_point(grid, center)
        (box,) = grid.sphere_box(np.array([world]), 2.0 * radius)
        case_nodules.append(
            CaseNodule(
                number, world, 2.0 * radius, tuple(box.tolist()), has_mask=True
            )
        )
    record = CaseRecord(
        uid,
        subset,
        grid,
        grid,
        1.0,
        case_nodules,
        [Annotation(world_point(grid, LONE_FINDING), None)],
        'computed',
    )
    write_case(root, record, {'image': image, 'mask': mask, 'lungs': lungs})


def balls_store(root: Path) -> Path:
    """1.1 with and 1.2 without nodules to train, 1.9 to test."""
    write_balls(root, '1.1', 0, True)
    write_balls(root, '1.2', 1, False)
    write_balls(root, '1.9', 9, True)
    rebuild_index(root)
    return root


def write_lungs(
    root: Path,
    uid: str,
    subset: int | None,
    *,
    image: np.ndarray | None = None,
) -> None:
    """Lung in the half x < 40, soft tissue in the other."""
    shape = LUNGS_GRID.shape
    lungs = np.zeros(shape, dtype=np.uint8)
    lungs[10:50, 10:60, 5:40] = 1
    if image is None:
        rng = np.random.default_rng(len(uid))
        image = rng.normal(-870, 20, shape).astype(np.int16)
        image[:, :, 40:] = 60
    record = CaseRecord(
        uid,
        subset,
        LUNGS_GRID,
        LUNGS_GRID,
        1.0,
        [],
        [],
        lung_mask='computed',
        patient_id=f'P{uid}',
    )
    write_case(root, record, {'image': image, 'lungs': lungs})


def lungs_store(root: Path) -> Path:
    """1.1 and 1.2 to train, 1.3 to validate, 1.4 to test."""
    for uid, subset in (('1.1', 0), ('1.2', 3), ('1.3', 8), ('1.4', 9)):
        write_lungs(root, uid, subset)
    rebuild_index(root)
    return root


def training_crops(
    root: Path,
    *spatial: dict,
    size: tuple[int, int, int] = (32, 48, 64),
    margin: int = 8,
    late: dict | None = None,
    load: dict | None = None,
    after: tuple[dict, ...] = (),
    split: str = 'train',
    **options: object,
) -> LUNA16Dataset:
    """Crops of a store, with some transforms before and after reading."""
    return LUNA16Dataset(
        root,
        split,
        pipeline=[
            {
                'type': 'PlaceCrop',
                'size': size,
                'margin': margin,
                **(late or {}),
            },
            *spatial,
            {'type': 'LoadCrop', **(load or {})},
            *after,
            {'type': 'PackDetInputs'},
        ],
        **options,
    )


def write_airy(
    root: Path, uid: str, subset: int, patient: str | None = None
) -> None:
    """Lung with vessels and noise in 2.5 mm slices, and a wall at x < 9."""
    shape = (64, 66, 72)
    grid = Geometry.from_parts(
        shape, spacing_zyx=(1, 1, 1), origin_xyz=(-20, 7, 30)
    )
    source = Geometry.from_parts(
        (26, 94, 103),
        spacing_zyx=(2.5, 0.7, 0.7),
        origin_xyz=(-20.15, 6.85, 30.75),
    )
    rng = np.random.default_rng(len(uid) + subset)
    slices = rng.normal(0, 25, (27, *shape[1:]))
    between, low = np.modf(np.arange(shape[0]) / 2.5)
    low = low.astype(int)
    noise = slices[low] * (1 - between[:, None, None])
    noise += slices[low + 1] * between[:, None, None]
    image = noise - 870
    image[:, 20:22, 14:60] += 700
    image[:, 44:46, 14:60] += 700
    image[:, :, :9] = 45 + 0.8 * noise[:, :, :9]
    lungs = np.ones(shape, dtype=np.uint8)
    lungs[:, :, :9] = 0
    record = CaseRecord(
        uid,
        subset,
        grid,
        source,
        1.0,
        [],
        [],
        'computed',
        patient_id=patient,
    )
    image = np.rint(image).astype(np.int16)
    write_case(root, record, {'image': image, 'lungs': lungs})


def airy_store(root: Path) -> Path:
    """3.1 and 3.2 to train, 3.3 to validate, 3.4 to test; all of patients."""
    for uid, subset in (('3.1', 0), ('3.2', 1), ('3.3', 8), ('3.4', 9)):
        write_airy(root, uid, subset, f'P{uid}')
    rebuild_index(root)
    return root
