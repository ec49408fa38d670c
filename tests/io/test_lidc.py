from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, stem
from lungdet.io.lidc import (
    LidcReading,
    Mark,
    Region,
    consensus_masks,
    fill_outline,
    mark_voxels,
    read_lidc_xml,
)
from lungdet.io.luna16 import read_annotations

GRID = Geometry.from_parts(
    (4, 12, 14), spacing_zyx=(2.5, 1, 1), origin_xyz=(0, 0, -5)
)


def square(z: float, low: int, high: int, inclusion: bool = True) -> Region:
    points = np.array([[low, low], [high, low], [high, high], [low, high]])
    return Region(z, inclusion, points)


def test_outline_pixels_lie_outside() -> None:
    ring = square(0, 2, 6).points

    without = fill_outline(ring, (10, 10), with_outline=False)
    with_them = fill_outline(ring, (10, 10), with_outline=True)

    wanted = np.zeros((10, 10), dtype=bool)
    wanted[3:6, 3:6] = True
    np.testing.assert_array_equal(without, wanted)
    wanted[2:7, 2:7] = True
    np.testing.assert_array_equal(with_them, wanted)


def test_a_hole_takes_its_outline_away_too() -> None:
    mark = Mark(0, '1', (square(0, 1, 9), square(0, 4, 6, inclusion=False)))

    voxels = mark_voxels(mark, GRID)

    # 7 x 7 inside the outline, less 3 x 3 with the hole's outline; z = 2
    assert len(voxels) == 49 - 9
    assert {k for k, _, _ in voxels} == {2}
    assert (2, 5, 5) not in voxels


def test_outline_of_another_series_is_refused() -> None:
    with pytest.raises(AnnotationError, match='in no slice'):
        mark_voxels(Mark(0, '1', (square(1.3, 1, 9),)), GRID)


def reading(*marks: tuple[int, int, int]) -> LidcReading:
    return LidcReading(
        'u',
        None,
        4,
        [
            Mark(r, str(k), (square(0, a, b),))
            for k, (r, a, b) in enumerate(marks)
        ],
        0,
        0,
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


def test_two_marks_of_one_reader_stay_two() -> None:
    doubled = reading((0, 1, 6), (0, 2, 6), (1, 1, 6))

    _, nodules = consensus_masks(doubled, GRID, min_readers=1)

    assert sorted(n.num_readers for n in nodules) == [1, 2]


@pytest.mark.parametrize(
    ('name', 'readers', 'small', 'others'),
    [
        ('188-011', 8, None, None),
        ('189-110', 3, None, None),
        ('188-259', 4, None, None),
        ('188-246', 4, None, None),
        ('189-142', 4, 0, 1),
        ('189-143', 4, 1, 2),
    ],
)
def test_odd_real_files(
    test_data: Path,
    name: str,
    readers: int,
    small: int | None,
    others: int | None,
) -> None:
    found = read_lidc_xml(test_data / 'lidc-xml' / f'{name}.xml')

    assert found.num_readers == readers
    if small is not None:
        assert (found.small, found.non_nodules, found.marks) == (
            small,
            others,
            [],
        )
    if name in ('188-259', '188-246'):
        assert any(not r.inclusion for m in found.marks for r in m.regions)


def test_x_ray_file_is_skipped_and_bad_xml_refused(
    test_data: Path, tmp_path: Path
) -> None:
    assert read_lidc_xml(test_data / 'lidc-xml' / '185-128.xml') is None
    bad = tmp_path / 'x.xml'
    bad.write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(AnnotationError, match='entities'):
        read_lidc_xml(bad)
    bad.write_text('<a>')
    with pytest.raises(AnnotationError, match='not readable as XML'):
        read_lidc_xml(bad)


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
        for found in annotations[uid]:
            at = geometry.to_index(np.array([found.center_mm]))[0]
            at = tuple(np.rint(at).astype(int))
            assert labels[at] and truth[at]
            mine, theirs = labels == labels[at], truth == truth[at]
            dice = 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum())
            assert dice >= 0.90, (uid, found, dice)
