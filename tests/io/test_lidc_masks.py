from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, stem
from lungdet.io.lidc import Contour, LidcReading, NoduleOutline, read_lidc_xml
from lungdet.io.lidc_masks import consensus_masks, fill_contour, outline_voxels
from lungdet.io.luna16 import read_annotations

GRID = Geometry.from_parts(
    (4, 12, 14), spacing_zyx=(2.5, 1, 1), origin_xyz=(0, 0, -5)
)


def square(z: float, low: int, high: int, inclusion: bool = True) -> Contour:
    points = np.array([[low, low], [high, low], [high, high], [low, high]])
    return Contour(z, inclusion, points)


def test_pixels_of_a_contour_lie_outside() -> None:
    ring = square(0, 2, 6).points

    without = fill_contour(ring, (10, 10), with_contour=False)
    with_them = fill_contour(ring, (10, 10), with_contour=True)

    wanted = np.zeros((10, 10), dtype=bool)
    wanted[3:6, 3:6] = True
    np.testing.assert_array_equal(without, wanted)
    wanted[2:7, 2:7] = True
    np.testing.assert_array_equal(with_them, wanted)


def test_a_hole_takes_its_outline_away_too() -> None:
    outline = NoduleOutline(
        0, '1', (square(0, 1, 9), square(0, 4, 6, inclusion=False))
    )

    voxels = outline_voxels(outline, GRID)

    # 7 x 7 inside the outline, less 3 x 3 with the hole's outline; z = 2
    assert len(voxels) == 49 - 9
    assert set(voxels[:, 0]) == {2}
    assert [2, 5, 5] not in voxels.tolist()


def test_outline_of_another_series_is_refused() -> None:
    with pytest.raises(AnnotationError, match='in no slice'):
        outline_voxels(NoduleOutline(0, '1', (square(1.3, 1, 9),)), GRID)


def reading(*outlines: tuple[int, int, int]) -> LidcReading:
    return LidcReading(
        'u',
        None,
        4,
        tuple(
            NoduleOutline(r, str(k), (square(0, a, b),))
            for k, (r, a, b) in enumerate(outlines)
        ),
    )


@pytest.mark.parametrize(
    ('readers', 'mode', 'reason'),
    [(0, 'half', 'at least 1 reader'), (3, 'most', "consensus: 'most'")],
)
def test_consensus_that_does_not_exist_is_refused(
    readers: int, mode: str, reason: str
) -> None:
    with pytest.raises(AnnotationError, match=reason):
        consensus_masks(reading(), GRID, min_readers=readers, mode=mode)


def test_consensus_half_union_and_reader_count() -> None:
    three = reading((0, 1, 6), (1, 1, 6), (2, 2, 9), (3, 8, 11))

    labels, nodules = consensus_masks(three, GRID, min_readers=3)
    union, _ = consensus_masks(three, GRID, min_readers=3, mode='union')

    # voxels of at least 1.5 of 3 readers: 2..5 square of readers 0 and 1
    assert [n.num_readers for n in nodules] == [3]
    assert labels.sum() == 16
    assert union.sum() == 16 + 36 - 9  # 2..5 and 3..8 squares, 3..5 shared


def test_two_outlines_of_one_reader_stay_two() -> None:
    doubled = reading((0, 1, 6), (0, 2, 6), (1, 1, 6))

    _, nodules = consensus_masks(doubled, GRID, min_readers=1)

    assert sorted(n.num_readers for n in nodules) == [1, 2]


@pytest.mark.slow
def test_real_masks_agree_and_hold_every_luna16_centre(
    test_data: Path,
) -> None:
    mini = test_data / 'luna16-mini'
    annotations = read_annotations(mini / 'annotations.csv')
    scans = {stem(p): p for p in mini.glob('subset?/*.mhd')}
    scans |= {p.name: p for p in mini.glob('subset?-dicom/*')}
    assert len(scans) == 3
    for uid, path in scans.items():
        geometry = load_volume(path).geometry
        name = f'{uid}_consensus.nii.gz'
        truth = read_image(mini / 'masks' / name).array
        labels, nodules = consensus_masks(
            read_lidc_xml(mini / 'xml' / f'{uid}.xml'), geometry
        )
        assert len(nodules) == len(annotations[uid])
        for nodule in annotations[uid]:
            at = geometry.to_index(np.array([nodule.center_mm]))[0]
            at = tuple(np.rint(at).astype(int))
            assert labels[at] and truth[at]
            here, there = labels == labels[at], truth == truth[at]
            dice = 2 * (here & there).sum() / (here.sum() + there.sum())
            assert dice >= 0.90, (uid, nodule, dice)


def test_outlines_on_a_grid_that_runs_down() -> None:
    turned = GRID.flip(0)
    outline = NoduleOutline(0, '1', (square(-2.5, 1, 5),))

    up, down = (outline_voxels(outline, grid) for grid in (GRID, turned))

    assert set(up[:, 0]) == {1}  # from z = -5 in steps of 2.5
    assert set(down[:, 0]) == {2}
    np.testing.assert_array_equal(up[:, 1:], down[:, 1:])


def test_the_largest_overlap_joins_first() -> None:
    """Reader 1's second outline overlaps more, so the first stays alone."""
    three = reading((0, 1, 9), (1, 7, 11), (1, 2, 9))

    _, nodules = consensus_masks(three, GRID, min_readers=2)

    (nodule,) = nodules
    # voxels of at least one of two: 7 x 7, of 1 mm x 1 mm x 2.5 mm
    assert nodule.diameter_mm == pytest.approx(
        (6 * 49 * 2.5 / np.pi) ** (1 / 3)
    )
    assert nodule.center_mm == pytest.approx((5, 5, 0))


def test_a_long_outline_takes_no_minutes(rng: np.random.Generator) -> None:
    """It zigzags through the whole slice; each step stays a step."""
    angles = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1) * 200 + 256

    started = time.perf_counter()
    filled = fill_contour(
        np.rint(circle).astype(int), (512, 512), with_contour=False
    )

    assert time.perf_counter() - started < 10
    y, x = np.mgrid[:512, :512]
    inside = (x - 256) ** 2 + (y - 256) ** 2 < 198**2
    assert filled[inside].all()
    assert filled.sum() < 1.02 * np.pi * 200**2


def literal_fill(
    points: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel by pixel: inside by the even-odd rule, and on the line."""
    inside, on_line = np.zeros(shape, bool), np.zeros(shape, bool)
    closed = [tuple(p) for p in [*points.tolist(), points[0].tolist()]]
    for y, x in np.ndindex(shape):
        for (x0, y0), (x1, y1) in zip(closed[:-1], closed[1:]):
            if (
                (x - x0) * (y1 - y0) == (y - y0) * (x1 - x0)
                and min(x0, x1) <= x <= max(x0, x1)
                and min(y0, y1) <= y <= max(y0, y1)
            ):
                on_line[y, x] = True
            if min(y0, y1) <= y < max(y0, y1):
                # x < x0 + (y - y0) (x1 - x0) / (y1 - y0), in whole numbers
                side = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
                inside[y, x] ^= side < 0 if y1 > y0 else side > 0
    return inside, on_line


def test_filling_agrees_with_every_pixel_asked(
    rng: np.random.Generator,
) -> None:
    for _ in range(150):
        shape = tuple(int(n) for n in rng.integers(1, 12, 2))
        points = rng.integers(-8, 18, (rng.integers(1, 10), 2))

        inside, on_line = literal_fill(points, shape)

        for with_contour in (False, True):
            np.testing.assert_array_equal(
                fill_contour(points, shape, with_contour=with_contour),
                (inside | on_line) if with_contour else (inside & ~on_line),
            )


def test_an_outline_of_100_000_points_takes_seconds(
    rng: np.random.Generator,
) -> None:
    """The worst there is: each edge crosses half of the image."""
    points = rng.integers(0, 512, (100_000, 2))
    start = time.monotonic()

    fill_contour(points, (512, 512), with_contour=True)

    assert time.monotonic() - start < 30


def test_an_outline_that_leaves_every_image_is_refused() -> None:
    points = np.array([[2, 2], [10**9, 2], [5, 7]])
    outline = NoduleOutline(0, '7', (Contour(0, True, points),))

    with pytest.raises(AnnotationError, match='nodule 7: .* pixel 1000000000'):
        outline_voxels(outline, GRID)
