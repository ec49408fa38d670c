from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.image import load_volume
from lungdet.prepare import LungSides, locate
from lungdet.structures import Detection, SeriesResult
from tests.dicom_series import STEP, raw_text, write_frames, write_slice

GRID = Geometry.from_parts(
    (10, 8, 8), spacing_zyx=(2.5, 1, 1), origin_xyz=(0, 0, 100)
)


def result_at(*heights_mm: float) -> SeriesResult:
    detections = [Detection((3.0, 3.0, z), 0.5) for z in heights_mm]
    return SeriesResult('1', detections, GRID)


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    """z -100 and up; their InstanceNumbers run down, from 26."""
    hu = np.full((16, 24), -800)
    return [write_slice(tmp_path, k, hu) for k in range(26)]


def test_dicom_slices_have_their_instance(
    slices: list[Path], tmp_path: Path
) -> None:
    volume = load_volume(tmp_path)
    result = SeriesResult(
        '1',
        [Detection((0.0, 20.0, -100 + STEP * 3 + 0.9), 0.5)],
        volume.geometry,
        slices=volume.slices,
    )

    (detection,) = locate(result, None).detections

    assert detection.slice_number == 4
    assert detection.instance_number == 23
    source = volume.slices[3]
    assert source.path == slices[3]
    assert detection.sop_instance_uid == source.sop_instance_uid
    assert detection.lung_side is None and detection.lung_zone is None


def test_a_number_that_cannot_be_read_refuses_no_scan(
    slices: list[Path], tmp_path: Path
) -> None:
    raw_text(slices[3], 'InstanceNumber', 'three')

    numbers = [s.instance_number for s in load_volume(tmp_path).slices]

    assert numbers[2:5] == [24, None, 22]


def test_unevenly_spaced_slices_are_looked_up_by_position(
    slices: list[Path], tmp_path: Path
) -> None:
    slices[10].unlink()
    volume = load_volume(tmp_path)
    above = Detection((0.0, 20.0, -100 + STEP * 20), 0.5)
    result = SeriesResult('1', [above], volume.geometry, slices=volume.slices)

    (detection,) = locate(result, None).detections

    assert len(volume.slices) == 25 and volume.array.shape[0] == 26
    assert detection.slice_number == 20  # of those that are there
    assert detection.instance_number == 6


def test_frames_of_one_file_have_no_number_of_their_own(
    slices: list[Path], tmp_path: Path
) -> None:
    (tmp_path / 'frames').mkdir()
    path = write_frames(tmp_path / 'frames' / 'all.dcm', slices)
    volume = load_volume(path.parent)

    uids = {source.sop_instance_uid for source in volume.slices}

    assert len(uids) == 1 and len(volume.slices) == 26
    assert {source.instance_number for source in volume.slices} == {None}
    assert [source.frame for source in volume.slices] == [*range(26)]


def test_lung_and_zone_are_those_of_the_centre() -> None:
    nearest = np.ones((4, 4, 4), np.uint8)
    nearest[..., 2:] = 2
    sides = LungSides(nearest, GRID, {1: (100, 130), 2: (100, 109)})
    result = result_at(101.0, 108.0)
    result.detections[1] = replace(
        result.detections[1], center_mm=(0.0, 0.0, 108.0)
    )

    left, right = locate(result, sides).detections

    assert (left.lung_side, left.lung_zone) == ('left', 'lower')
    assert (right.lung_side, right.lung_zone) == ('right', 'lower')
