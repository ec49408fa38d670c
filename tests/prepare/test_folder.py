from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungdet.errors import AnnotationError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume, read_image, write_image
from lungdet.phantom import make_phantom
from lungdet.prepare import prepare_folder
from lungdet.prepare.folder import read_references
from tests.dicom_series import write_slice
from tests.prepare.scans import SCANS, air, table_of, write_folder

CROP = Path(__file__).parent.parent / 'data' / 'phantom_crop'
# of the phantom: label in the mask -> centre and diameter, mm
CROP_NODULES = {
    2: ((63.7641, 9.7726, -302.5224), 7.4747),
    3: ((80.4832, 7.6839, -290.542), 8.0727),
}


def test_world_boxes_and_masks_beside_the_scans(
    scans: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text('seriesuid,x1,y1,z1,x2,y2,z2\nb,4,6,8,10,13,16\n')
    boxes = prepare_folder(
        scans, tmp_path / 'boxes', annotations=table, progress=False
    )
    labels = np.zeros((10, 21, 18), dtype=np.uint8)
    labels[3:6, 4:9, 5:12] = 9
    geometry = CaseStore(tmp_path / 'boxes').records['b'].source_geometry
    write_image(scans / 'truth' / 'b.nii.gz', labels, geometry)
    litter = scans / 'truth' / '._b.nii.gz'  # as archives of a Mac have it
    litter.write_bytes(b'\0\5\x16\7')
    (scans / '._b.mhd').write_bytes(b'\0\5\x16\7')

    masks = prepare_folder(
        scans,
        tmp_path / 'out',
        annotations=scans / 'truth',  # not taken for scans
        progress=False,
    )

    for summary in (boxes, masks):
        assert [len(r.nodules) for r in summary.records] == [0, 1, 0]
    nodule = boxes.records[1].nodules[0]
    np.testing.assert_allclose(
        boxes.records[1].geometry.to_world(
            np.array(nodule.box).reshape(2, 3) - 0.5
        ),
        [[4, 6, 8], [10, 13, 16]],
        atol=1e-9,
    )
    assert masks.records[1].nodules[0].has_mask
    with pytest.raises(FileNotFoundError, match='not there'):
        prepare_folder(scans, tmp_path / 'o', annotations=tmp_path / 'none')


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('masks', r'no mask image \(.mhd, .*\) in it'),
        ('nodules.csv', 'no row in it'),
        ('boxes.csv', 'no row in it'),
    ],
)
def test_annotations_of_no_scan_are_refused(
    scans: Path, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks' / 'a.png').write_bytes(b'no image of voxels')
    (tmp_path / 'boxes.csv').write_text('seriesuid,x1,y1,z1,x2,y2,z2\n')
    table_of(tmp_path, '')

    with pytest.raises(AnnotationError, match=f'{name}: {reason}'):
        prepare_folder(scans, tmp_path / 'out', annotations=tmp_path / name)


@pytest.mark.parametrize(
    'header', ['x,y,z', 'boxes'], ids=['centres', 'boxes']
)
def test_repeated_nodules_are_refused(
    scans: Path, tmp_path: Path, header: str
) -> None:
    path = table_of(tmp_path, 2 * 'a,1,2,3,4\n')
    if header == 'boxes':
        names = 'seriesuid,x1,y1,z1,x2,y2,z2\n'
        path.write_text(names + 2 * 'a,1,2,3,4,5,6\n')

    with pytest.raises(AnnotationError, match='a has 1 nodule in several'):
        prepare_folder(scans, tmp_path / 'out', annotations=path)


def test_two_label_images_of_one_scan_are_refused(
    scans: Path, tmp_path: Path
) -> None:
    (tmp_path / 'masks').mkdir()
    for name in ('a.mha', 'a.nii.gz'):
        (tmp_path / 'masks' / name).write_bytes(b'')

    with pytest.raises(AnnotationError, match='a.nii.gz: another label image'):
        prepare_folder(scans, tmp_path / 'out', annotations=tmp_path / 'masks')


def test_annotations_may_come_through_a_pipe(
    scans: Path, tmp_path: Path
) -> None:
    text = table_of(tmp_path, 'b,10,10,10,5\n').read_text()
    os.mkfifo(tmp_path / 'pipe')
    writer = threading.Thread(
        target=(tmp_path / 'pipe').write_text, args=(text,)
    )
    writer.start()

    references = read_references(tmp_path / 'pipe')

    writer.join()
    assert [len(r.table_rows()) for r in references.values()] == [1]


def test_scans_that_the_annotations_do_not_name_are_counted(
    scans: Path, tmp_path: Path
) -> None:
    caveat = 'have no entry in .*nodules.csv and count as without nodules'
    some = table_of(tmp_path, 'b,10,10,10,5\n')
    summary = prepare_folder(
        scans, tmp_path / 'out', annotations=some, progress=False
    )
    assert re.search(
        f'caveat: 2 of 3 scans {caveat}, such as a', summary.table()
    )

    every = table_of(tmp_path, ''.join(f'{s},9,10,10,5\n' for s in SCANS))
    summary = prepare_folder(
        scans, tmp_path / 'out', annotations=every, progress=False
    )
    assert not re.search(caveat, summary.table())


@pytest.mark.parametrize('name', ['1.2.3', 'knee'])
@pytest.mark.parametrize('inner', ['', 'knee'])
def test_series_goes_by_its_uid_or_its_folder(
    tmp_path: Path, name: str, inner: str
) -> None:
    write_folder(tmp_path / 'knee' / inner, '1.2.3')
    table = table_of(tmp_path, f'{name},0,30,20,5\n')

    summary = prepare_folder(
        tmp_path / 'knee',  # the series' own folder, or the one around it
        tmp_path / 'out',
        annotations=table,
        progress=False,
    )

    (record,) = summary.records
    assert record.series_uid == '1.2.3'
    assert len(record.nodules) == 1


def test_every_series_of_a_folder_is_a_case(tmp_path: Path) -> None:
    for uid, z0 in (('1.1', 0), ('1.2', 500)):
        write_folder(tmp_path / 'scans' / 'both', uid, z0)
    write_slice(
        tmp_path / 'scans' / 'both', 0, air()[0], name='stray', series='9.9'
    )

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )
    chosen = prepare_folder(
        tmp_path / 'scans', tmp_path / 'one', series=['1.2'], progress=False
    )

    assert [r.series_uid for r in summary.records] == ['1.1', '1.2']
    bottoms = [r.source_geometry.origin[2] for r in summary.records]
    assert bottoms == [0, 500]
    assert 'left out: 9.9' in summary.table()
    assert [r.series_uid for r in chosen.records] == ['1.2']
    with pytest.raises(SeriesError, match='no scan found of series 4.4'):
        prepare_folder(
            tmp_path / 'scans', tmp_path / 'o', series=['4.4'], progress=False
        )


def test_patient_is_known_from_dicom(tmp_path: Path) -> None:
    write_folder(tmp_path / 'scans' / 'a', '1.1')
    for path in (tmp_path / 'scans' / 'a').iterdir():
        header = pydicom.dcmread(path)
        header.PatientID = 'P7'
        header.save_as(path)

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )

    assert [r.patient_id for r in summary.records] == ['P7']


def test_offset_of_the_command_reaches_the_scans(
    scans: Path, tmp_path: Path
) -> None:
    image = read_image(scans / 'b.mhd')
    array = image.array + np.int16(1024)
    array[:, :6] = 24  # air
    write_image(scans / 'b.mhd', array, image.geometry)
    without = prepare_folder(scans, tmp_path / 'out', progress=False)
    assert '--hu-offset -1024' in without.failed['b']

    summary = prepare_folder(
        scans, tmp_path / 'out', hu_offset=-1024, progress=False
    )

    assert not summary.failed and summary.skipped == 0
    store = CaseStore(tmp_path / 'out')
    assert store.read('b', 'image').min() < -800
    assert 'HU already' in ' '.join(store.records['a'].caveats)


def test_folder_refuses_annotations_of_absent_scans(tmp_path: Path) -> None:
    geometry = Geometry.from_parts(
        (4, 5, 6), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    write_image(
        tmp_path / 'scans' / 'a.mha',
        np.full((4, 5, 6), -900, np.int16),
        geometry,
    )
    table = tmp_path / 'boxes.csv'
    table.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\nb,1,1,1,4\n')

    with pytest.raises(AnnotationError, match="such as 'b'"):
        prepare_folder(
            tmp_path / 'scans',
            tmp_path / 'out',
            annotations=table,
            progress=False,
        )
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SeriesError, match='no scan found'):
        prepare_folder(tmp_path / 'empty', tmp_path / 'o', progress=False)


def test_nodules_of_a_stored_crop_are_those_annotated(tmp_path: Path) -> None:
    """Through reader, lungs, resampling to 1 mm and store."""
    summary = prepare_folder(
        CROP / 'scans', tmp_path, annotations=CROP / 'masks', progress=False
    )

    assert not summary.failed
    store = CaseStore(tmp_path)
    record = store.records['phantom']
    image, mask = (store.read('phantom', kind) for kind in ('image', 'mask'))
    assert len(record.nodules) == 2
    for nodule, (center_mm, diameter_mm) in zip(
        record.nodules, CROP_NODULES.values()
    ):
        offset = np.subtract(center_mm, nodule.center_mm)
        assert np.linalg.norm(offset) < 0.45
        inside = mask == nodule.id
        volume_mm3 = inside.sum() * record.spacing_mm**3
        gap = np.cbrt(6 * volume_mm3 / np.pi) - diameter_mm
        assert abs(gap) < 0.7
        beside = image[tuple(np.argwhere(inside).min(axis=0) - 3)]
        assert np.median(image[inside]) > beside + 300  # tissue in air


def test_the_stored_crop_is_its_phantom_there() -> None:
    """World points mean the same in the crop and in the scan it is of."""
    whole = make_phantom([82], size='small', num_nodules=3)

    crop = load_volume(CROP / 'scans' / 'phantom.mha')
    labels = read_image(CROP / 'masks' / 'phantom.mha')

    corner = crop.geometry.to_world(np.zeros((1, 3)))
    start = whole.volume.geometry.to_index(corner)[0]
    np.testing.assert_allclose(start, [14, 114, 208], atol=1e-6)
    region = tuple(
        slice(a, a + n)
        for a, n in zip(np.rint(start).astype(int), crop.array.shape)
    )
    np.testing.assert_array_equal(whole.volume.array[region], crop.array)
    np.testing.assert_array_equal(whole.masks[region], labels.array)
    assert labels.geometry.is_close(crop.geometry)


def test_masks_of_the_stored_crop_lie_on_the_annotated_centres() -> None:
    labels = read_image(CROP / 'masks' / 'phantom.mha')

    for label, (center_mm, _) in CROP_NODULES.items():
        inside = np.argwhere(labels.array == label).mean(axis=0)
        middle = labels.geometry.to_world(inside[None])[0]
        assert np.linalg.norm(middle - center_mm) < 0.45
