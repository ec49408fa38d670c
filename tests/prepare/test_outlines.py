from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.image import write_image
from lungdet.io.lidc_masks import LidcNodule
from lungdet.prepare import prepare_luna16
from lungdet.prepare.outlines import (
    OutlineReferences,
    index_reader_xml,
    match_nodules,
)
from lungdet.prepare.references import References
from lungdet.structures import Annotation, SourceSlice, Volume
from tests.prepare.scans import table_of


def test_rows_and_outlines_pair_once_each() -> None:
    geometry = Geometry.from_parts(
        (10, 20, 30), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
    )
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    labels[2:4, 4:8, 4:8] = 1
    labels[6:8, 10:14, 20:24] = 2
    nodules = [
        LidcNodule(1, 4, (5.5, 5.5, 5.0), 5.0),
        LidcNodule(2, 3, (21.5, 11.5, 13.0), 5.0),
    ]
    rows = [
        Annotation((21.5, 14.5, 13.0), 8.0),  # beside the mask, in radius
        Annotation((5.0, 5.0, 5.0), 6.0),  # in the mask
        Annotation((7.0, 7.0, 5.0), 6.0),  # in it too, but farther away
        Annotation((15.0, 2.0, 1.0), 6.0),  # nothing there
    ]

    assert match_nodules(rows, nodules, labels, geometry) == [
        2,
        1,
        None,
        None,
    ]


def test_the_mask_around_a_row_wins_over_the_nearest_centre() -> None:
    geometry = Geometry.from_parts(
        (10, 20, 30), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
    )
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    labels[2:4, 4:8, 4:20] = 1
    labels[2:4, 4:8, 20:24] = 2
    nodules = [
        LidcNodule(1, 4, (11.5, 5.5, 5.0), 10.0),
        LidcNodule(2, 4, (21.5, 5.5, 5.0), 5.0),
    ]
    inside = Annotation((18.0, 5.5, 5.0), 8.0)  # 6.5 and 3.5 mm away
    beside = Annotation((21.5, 10.5, 5.0), 8.0)  # 5 mm away, its radius is 4

    assert match_nodules([inside], nodules, labels, geometry) == [1]
    assert match_nodules([beside], nodules, labels, geometry) == [None]


def test_outlines_of_shifted_slices_are_refused(tmp_path: Path) -> None:
    """They are pixels of the slices, which a tilted gantry moved."""
    path = tmp_path / 'a.xml'
    path.write_text(
        '<LidcReadMessage><ResponseHeader><SeriesInstanceUid>1.2'
        '</SeriesInstanceUid></ResponseHeader></LidcReadMessage>'
    )
    grid = Geometry.from_parts(
        (3, 20, 20), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
    )

    def read(shift: int) -> References:
        slices = tuple(
            SourceSlice(Path(f'{k}'), grid.crop((k, k * shift, 0), (1, 9, 20)))
            for k in range(3)
        )
        array = np.zeros(grid.shape, dtype=np.int16)
        volume = Volume(array, grid, '1.2', slices=slices)
        return OutlineReferences(path, ()).read(volume)

    assert not read(0).nodules
    with pytest.raises(AnnotationError, match='its outlines are in pixels'):
        read(1)


def test_two_files_of_one_series_are_refused_if_they_differ(
    tmp_path: Path,
) -> None:
    text = '<x><SeriesInstanceUid>1.2.3</SeriesInstanceUid></x>'
    for name in ('a.xml', 'copy.xml'):
        (tmp_path / name).write_text(text)
    (tmp_path / 'c.XML').write_text(text.replace('1.2.3', '1.2.4'))
    assert index_reader_xml(tmp_path) == {
        '1.2.3': tmp_path / 'a.xml',
        '1.2.4': tmp_path / 'c.XML',
    }

    (tmp_path / 'b.xml').write_text(text + ' ')
    with pytest.raises(AnnotationError, match=r'b.xml: series 1.2.3 is also'):
        index_reader_xml(tmp_path)


@pytest.mark.parametrize(
    ('readers', 'consensus', 'voxels'),
    [(4, 'half', None), (3, 'half', 3 * 3), (3, 'union', 5 * 3)],
)
def test_readers_and_consensus_of_the_command(
    tmp_path: Path, readers: int, consensus: str, voxels: int | None
) -> None:
    """One reader's 5 x 3 and two readers' 3 x 3 pixels inside outlines."""
    shape = (8, 20, 20)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(10, 5, 5), origin_xyz=(0, 0, 0)
    )
    array = np.full(shape, 40, np.int16)
    array[:, :2] = -900
    write_image(tmp_path / 'subset0' / '1.1.mhd', array, geometry)
    table_of(tmp_path, '1.1,45,50,30,30\n').rename(
        tmp_path / 'annotations.csv'
    )
    (tmp_path / 'xml').mkdir()
    (tmp_path / 'xml' / 'a.xml').write_text(
        '<LidcReadMessage><ResponseHeader><SeriesInstanceUid>1.1'
        '</SeriesInstanceUid><StudyInstanceUID>7.7</StudyInstanceUID>'
        '</ResponseHeader>'
        + ''.join(
            '<readingSession><unblindedReadNodule><noduleID>1</noduleID>'
            '<roi><imageZposition>30</imageZposition>'
            '<inclusion>TRUE</inclusion>'
            + ''.join(
                f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
                for x, y in ((6, 8), (right, 8), (right, 12), (6, 12))
            )
            + '</roi></unblindedReadNodule></readingSession>'
            for right in (12, 10, 10)
        )
        + '</LidcReadMessage>'
    )
    options = {'min_readers': readers, 'consensus': consensus}

    summary = prepare_luna16(
        tmp_path,
        tmp_path / 'out',
        lidc_xml=tmp_path / 'xml',
        spacing_mm=5.0,
        progress=False,
        **options,
    )

    (record,) = summary.records
    assert record.patient_id == '7.7'  # the study; no header names a patient
    assert record.nodules[0].has_mask == (voxels is not None)
    if voxels is None:
        assert 'no outline of 4 readers' in summary.table()
        return
    assert record.nodules[0].num_readers == 3
    mask = CaseStore(tmp_path / 'out').read('1.1', 'mask')
    # slices of 10 mm are two or three of 5 mm; each shows the whole square
    assert mask.any((1, 2)).sum() * voxels == mask.sum()
