"""Blobs: a ball of a size and contrast is a mark of that size and score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.blobs import ball_contrast, blobs_of, score_blobs, table
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.io.luna16 import read_marks, write_submission
from lungdet.structures import CaseNodule, CaseRecord

SHAPE = (64, 64, 64)
GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(1, 1, 1), origin_xyz=(-20, 30, 7)
)
BALLS = {(20, 20, 20): 3.0, (44, 40, 22): 5.0, (30, 30, 48): 8.0}


def fraction_inside(
    center: tuple[float, ...], radius: float, axes: tuple[int, ...] = (0, 1, 2)
) -> np.ndarray:
    """Of each voxel in a ball, or in a rod along the axis left out."""
    away = np.sqrt(sum((np.indices(SHAPE)[a] - center[a]) ** 2 for a in axes))
    return np.clip(radius - away + 0.5, 0, 1)


@pytest.mark.parametrize('radius', [2.5, 4.0, 8.0])
@pytest.mark.parametrize('contrast', [200, 800])
def test_a_ball_responds_with_its_contrast(
    radius: float, contrast: float
) -> None:
    image = -870 + contrast * fraction_inside((31, 32, 33), radius)

    contrasts, diameters = ball_contrast(image, 1.0)

    peak = np.unravel_index(contrasts.argmax(), SHAPE)
    assert peak == (31, 32, 33)
    # half a step of the sizes costs 1.2 % in closed form, voxels the rest
    assert contrasts[peak] == pytest.approx(contrast, rel=0.05)
    assert diameters[peak] == pytest.approx(2 * radius, rel=0.26)


def test_a_vessel_responds_by_four_fifths_and_a_wall_by_a_quarter() -> None:
    """Of a Laplacian at its best scale: rod 2/e, plane exp(-1/2)/sqrt(2 pi),
    ball sqrt(2/pi) 3^1.5 exp(-3/2)."""
    ball = np.sqrt(2 / np.pi) * 3**1.5 * np.exp(-1.5)
    rod = -870 + 800 * fraction_inside((0, 32, 32), 4.0, axes=(1, 2))
    wall = np.full(SHAPE, -870.0)
    wall[:, :, 40:] += 800

    along, _ = ball_contrast(rod, 1.0)
    beside, _ = ball_contrast(wall, 1.0)

    middle = along[32, 32, 32] / 800
    assert middle == pytest.approx(2 / np.e / ball, abs=0.03)
    step = np.exp(-0.5) / np.sqrt(2 * np.pi) / ball
    assert beside[32, 32].max() / 800 == pytest.approx(step, abs=0.03)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Three nodules in each of two cases; one has a ball that is none."""
    for uid, other in (('1.1', 0.0), ('1.2', 520.0)):
        image = np.random.default_rng(0).normal(-870, 15, SHAPE)
        image += other * fraction_inside((50, 14, 50), 4.0)
        nodules = []
        for number, (center, radius) in enumerate(BALLS.items(), 1):
            image += (900 - 150 * number) * fraction_inside(center, radius)
            x, y, z = GRID.to_world([center])[0].tolist()
            box = [c + 0.5 - radius for c in center]
            box += [c + 0.5 + radius for c in center]
            nodules.append(
                CaseNodule(number, (x, y, z), 2 * radius, tuple(box))
            )
        lungs = np.ones(SHAPE, dtype=np.uint8)
        lungs[:, :, 60:] = 0
        record = CaseRecord(uid, 0, GRID, GRID, 1.0, nodules, [], 'given')
        arrays = {'image': np.rint(image).astype(np.int16), 'lungs': lungs}
        write_case(tmp_path / 'cases', record, arrays)
    rebuild_index(tmp_path / 'cases')
    return CaseStore(tmp_path / 'cases')


def test_balls_are_the_best_marks_and_have_their_diameters(
    store: CaseStore,
) -> None:
    record = store.records['1.1']

    marks = blobs_of(store, record).detections

    scores = [mark.score for mark in marks]
    assert scores == sorted(scores, reverse=True)
    for mark, nodule in zip(marks, record.nodules):
        assert (
            np.linalg.norm(np.subtract(mark.center_mm, nodule.center_mm)) < 1
        )
        assert mark.diameter_mm == pytest.approx(nodule.diameter_mm, rel=0.26)
        assert mark.score == pytest.approx(900 - 150 * nodule.id, rel=0.06)


def test_marks_outside_the_lungs_are_none(tmp_path: Path) -> None:
    image = np.full(SHAPE, -870, dtype=np.int16)
    lungs = np.ones(SHAPE, dtype=np.uint8)
    lungs[:, :, 40:] = 0
    for x in (46, 54):  # 7 and 15 mm from the last voxel of the lungs
        image += (700 * fraction_inside((32, 32, x), 3.0)).astype(np.int16)
    record = CaseRecord('1.1', 0, GRID, GRID, 1.0, [], [], 'given')
    write_case(tmp_path, record, {'image': image, 'lungs': lungs})
    rebuild_index(tmp_path)

    (mark,) = blobs_of(CaseStore(tmp_path), record).detections

    assert GRID.to_index([mark.center_mm])[0].round().tolist() == [32, 32, 46]


def test_the_table_counts_nodules_at_each_rate(
    store: CaseStore, tmp_path: Path
) -> None:
    results = [blobs_of(store, case) for case in store.records.values()]

    report = score_blobs(store, results)
    write_submission(tmp_path / 'marks.csv', results)

    # by contrast: 750, 750, 600, 600, 520 (no nodule), 450, 450
    lines = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in table(report).splitlines()
        if line.startswith('|')
    ]
    by_rate = {line[0]: line[1:] for line in lines[1:]}
    # one false positive of two scans is allowed from 1/2 on; Clopper and
    # Pearson: 6 of 6 from 0.025 ** (1 / 6)
    assert by_rate['0.25'] == ['4 of 6', '0.67', '0.22 to 0.96']
    assert by_rate['0.5'] == ['6 of 6', '1.00', '0.54 to 1.00']
    written = read_marks(tmp_path / 'marks.csv')
    assert {uid: len(scores) for uid, (_, scores) in written.items()} == {
        result.series_uid: len(result.detections) for result in results
    }
