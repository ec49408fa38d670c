from __future__ import annotations

from lungdet.geometry import Geometry
from lungdet.io.slice_numbers import slice_numbers
from lungdet.structures import Detection, SeriesResult

GRID = Geometry.from_parts(
    (10, 8, 8), spacing_zyx=(2.5, 1, 1), origin_xyz=(0, 0, 100)
)


def result_at(*heights_mm: float, grid: Geometry = GRID) -> SeriesResult:
    detections = [Detection((3.0, 3.0, z), 0.5) for z in heights_mm]
    return SeriesResult('1', detections, GRID, grid)


def test_slices_of_an_image_file_count_in_its_own_order() -> None:
    heights = (100.0, 101.2, 101.3, 122.5, 90.0, 200.0)

    assert slice_numbers(result_at(*heights)) == [1, 1, 2, 10, 1, 10]
    # the file's first slice is the highest one
    flipped = result_at(*heights, grid=GRID.flip(0))
    assert slice_numbers(flipped) == [10, 10, 9, 1, 10, 1]
