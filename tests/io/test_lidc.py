from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.errors import AnnotationError
from lungdet.io.lidc import read_lidc_xml


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
    reading = read_lidc_xml(test_data / 'lidc-xml' / f'{name}.xml')

    assert reading.num_readers == readers
    if small is not None:
        counts = (reading.num_points, reading.num_non_nodules)
        assert (counts, reading.outlines) == ((small, others), ())
    if name in ('188-259', '188-246'):
        assert any(
            not contour.inclusion
            for outline in reading.outlines
            for contour in outline.contours
        )


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
