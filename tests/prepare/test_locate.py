from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.io.file_image import FileImage
from lungdet.io.image import load_volume, read_image
from lungdet.io.luna16 import read_annotations
from lungdet.prepare import LungSides, find_sides, locate
from lungdet.prepare.given_lungs import lungs_of_scan
from lungdet.structures import Detection, SeriesResult
from tests.dicom_series import STEP, raw_text, write_frames, write_slice

GRID = Geometry.from_parts(
    (10, 8, 8), spacing_zyx=(2.5, 1, 1), origin_xyz=(0, 0, 100)
)
SIDE_OF_LABEL = {3: 'left', 4: 'right'}  # of the masks of luna16-mini
TRACHEA_MM = 25.0  # from the middle; masks number some of the trachea as lung
ENDS_MM = 5.0  # two slices, by which ends of two masks of one lung may differ


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


def literal_side_and_zones(
    center_mm: tuple[float, float, float], mask: FileImage
) -> tuple[str, set[str]]:
    """The lung of a point and its thirds there, from the voxels of a mask.

    The masks of luna16-mini number the lungs; elsewhere both are one number,
    and the plane halfway between the outermost voxels parts them.

    Returns:
        The side, and the zones within ``ENDS_MM`` of the point.
    """
    index = np.argwhere(np.isin(mask.array, (3, 4)))
    labels = mask.array[tuple(index.T)]
    points = mask.geometry.to_world(index)
    x, z = points[:, 0], points[:, 2]
    middle = (x.min() + x.max()) / 2
    if {*np.unique(labels)} == {3, 4}:
        nearest = np.linalg.norm(points - center_mm, axis=1).argmin()
        side = SIDE_OF_LABEL[int(labels[nearest])]
        lung = labels == labels[nearest]
    else:  # LPS: x grows to the patient's left
        side = 'left' if center_mm[0] > middle else 'right'
        lung = (x > middle) == (side == 'left')
    heights = z[lung & (abs(x - middle) > TRACHEA_MM)]
    low, high = heights.min(), heights.max()
    zones = set()
    for height in (center_mm[2] - ENDS_MM, center_mm[2] + ENDS_MM):
        if height < low + (high - low) / 3:
            zones.add('lower')
        elif height < low + (high - low) * 2 / 3:
            zones.add('middle')
        else:
            zones.add('upper')
    return side, zones


@pytest.mark.slow
def test_lungs_and_zones_of_real_nodules(test_data: Path) -> None:
    """Of the lungs that ``lungdet infer`` finds, and of masks that come with
    the scans."""
    reported, clear = {}, 0
    for folder in sorted(test_data.glob('luna16-m*')):
        nodules = read_annotations(folder / 'annotations.csv')
        for uid, references in sorted(nodules.items()):
            (scan,) = [
                *folder.glob(f'subset*/{uid}'),
                *folder.glob(f'subset*/{uid}.mhd'),
            ]
            volume = load_volume(scan)
            centers = [nodule.center_mm for nodule in references]
            result = SeriesResult(
                uid,
                [Detection(center, 0.5) for center in centers],
                volume.geometry,
                slices=volume.slices,
            )

            located = locate(result, find_sides(lungs_of_scan(None, volume)))

            mask = read_image(folder / 'seg-lungs-LUNA16' / f'{uid}.mhd')
            for detection in located.detections:
                side, zones = literal_side_and_zones(detection.center_mm, mask)
                clear += len(zones) == 1
                reported[detection.center_mm] = (
                    (detection.lung_side, detection.lung_zone),
                    {(side, zone) for zone in zones},
                )
    assert len(reported) == 14 and clear >= 10
    wrong = {
        center: (given, literal)
        for center, (given, literal) in reported.items()
        if given not in literal
    }
    assert not wrong
