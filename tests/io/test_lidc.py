from __future__ import annotations

import os
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


XML = """<LidcReadMessage><ResponseHeader>
<SeriesInstanceUid>1.2.3</SeriesInstanceUid></ResponseHeader>
<readingSession><unblindedReadNodule><noduleID>7</noduleID><roi>
<imageZposition>-12.5</imageZposition><inclusion>TRUE</inclusion>
<edgeMap><xCoord>3</xCoord><yCoord>4</yCoord></edgeMap>
<edgeMap><xCoord>5</xCoord><yCoord>6</yCoord></edgeMap>
</roi></unblindedReadNodule></readingSession></LidcReadMessage>"""
EDGE = '<edgeMap><xCoord>3</xCoord><yCoord>4</yCoord></edgeMap>'


@pytest.mark.parametrize(
    ('old', 'new', 'reason'),
    [
        ('TRUE', 'yes', "inclusion is 'YES'"),
        ('-12.5', 'inf', "imageZposition is 'inf'"),
        ('-12.5', '1_0', "imageZposition is '1_0'"),
        ('<xCoord>3', '<xCoord>99999999999999999999', 'is not a pixel'),
        ('<xCoord>3', '<xCoord>1e3', 'is not a pixel'),
        ('<xCoord>3', '<xCoord>-70000', 'is not a pixel'),
        (EDGE, EDGE * 10_001, 'outline of 10002 points'),
        ('<Lidc', '<?xml version="1.0" encoding="foo"?><Lidc', 'as XML'),
        ('<Lidc', '<!DOCTYPE a []><Lidc', 'declares entities'),
        ('7', '\0', 'not UTF-8'),
    ],
)
def test_values_that_no_outline_has_are_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = tmp_path / 'a.xml'
    path.write_text(XML)
    assert read_lidc_xml(path).outlines[0].contours[0].z_mm == -12.5
    path.write_text(XML.replace(old, new, 1))

    with pytest.raises(AnnotationError, match=reason) as caught:
        read_lidc_xml(path)

    assert str(path) in str(caught.value)


def test_entities_of_another_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.xml'
    path.write_bytes(('<!DOCTYPE a [<!ENTITY b "c">]>' + XML).encode('utf-16'))

    with pytest.raises(AnnotationError, match='not UTF-8'):
        read_lidc_xml(path)


def test_pipes_and_huge_files_are_no_reader_xml(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.xml')
    with open(tmp_path / 'sparse.xml', 'wb') as file:
        file.truncate(4 << 30)

    with pytest.raises(AnnotationError, match='not a regular file'):
        read_lidc_xml(tmp_path / 'pipe.xml')
    with pytest.raises(AnnotationError, match='4294967296 bytes'):
        read_lidc_xml(tmp_path / 'sparse.xml')
