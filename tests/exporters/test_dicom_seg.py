from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungdet.exporters import ExportInput, export_result
from lungdet.exporters.dicom_seg import EXPORTER, write_dicom_seg
from lungdet.io.image import load_volume
from lungdet.io.luna16 import read_annotations
from lungdet.prepare import locate
from lungdet.structures import Detection, SeriesResult
from tests.exporters.dicom_scene import (
    COMPLETE,
    assert_no_errors,
    literal_masks,
    negative,
    write_series,
)

hd = pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")


def read(path: Path, result: SeriesResult) -> tuple[Any, dict[int, Any]]:
    """The SEG, and its masks (slices, rows, columns) by the number in their
    tracking identifier."""
    seg = hd.seg.segread(path)
    uids = [s.sop_instance_uid for s in result.slices]
    pixels = seg.get_pixels_by_source_instance(
        uids,
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    return seg, {
        int(seg.get_segment_description(n).tracking_id.split()[-1]): mask > 0
        for n, mask in zip(seg.segment_numbers, np.moveaxis(pixels, -1, 0))
    }


@pytest.mark.parametrize(
    'kind', ['plain', 'tilted', 'oblique', 'upside down', 'uneven']
)
def test_masks_are_on_the_slices_as_stored(tmp_path: Path, kind: str) -> None:
    result = write_series(tmp_path / 'ct', kind=kind)

    assert write_dicom_seg(tmp_path, ExportInput(result)) == ['seg.dcm']

    _, masks = read(tmp_path / 'seg.dcm', result)
    wanted = [
        literal_masks(result, source.sop_instance_uid)
        for source in result.slices
    ]
    assert {*masks} == {1, 2}
    for number, mask in masks.items():
        assert mask.any()
        np.testing.assert_array_equal(mask, [one[number] for one in wanted])


def test_segments_keep_the_voxels_that_they_share(tmp_path: Path) -> None:
    """In a label image, the worse one would lose them, here all it has."""
    result = write_series(tmp_path / 'ct')
    better, worse = result.detections[:2]
    mask = better.mask.copy()
    mask[:6] = False
    result.detections[1] = replace(worse, mask=mask, mask_box=better.mask_box)

    write_dicom_seg(tmp_path, ExportInput(result))

    seg, masks = read(tmp_path / 'seg.dcm', result)
    assert masks[2].any() and (masks[1] & masks[2] == masks[2]).all()
    assert seg.SegmentsOverlap == 'YES'
    assert_no_errors(tmp_path / 'seg.dcm')


def test_segments_say_what_they_are(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')

    write_dicom_seg(tmp_path, ExportInput(result))

    seg, _ = read(tmp_path / 'seg.dcm', result)
    first, second = (seg.get_segment_description(n) for n in (1, 2))
    assert first.segment_label == 'nodule 1 (0.90)'
    assert second.tracking_id == 'nodule 2'
    assert first.tracking_uid != second.tracking_uid
    assert first.segmented_property_type.meaning == 'Nodule'
    for segment in (first, second):
        color = hd.color.CIELabColor.from_dicom_value(
            segment.RecommendedDisplayCIELabValue
        )
        red, green, blue = color.to_rgb()
        assert red > 200 and green < 100 and blue < 100
    assert seg.PatientName == 'Doe^Jane'
    assert seg.StudyInstanceUID == COMPLETE['StudyInstanceUID']
    assert seg.SeriesNumber == 1004


@pytest.mark.parametrize('tags', [COMPLETE, {}], ids=['complete', 'bare'])
def test_dciodvfy_finds_no_error(tmp_path: Path, tags: dict[str, Any]) -> None:
    """Bare: slices without patient, study and frame of reference."""
    result = write_series(tmp_path / 'ct', tags=tags)

    write_dicom_seg(tmp_path, ExportInput(result))

    assert_no_errors(tmp_path / 'seg.dcm')


def test_a_mask_between_two_slices_has_no_segment(tmp_path: Path) -> None:
    """Slices lie at even voxels of the case; one mask is at odd ones."""
    result = write_series(tmp_path / 'ct')
    result.detections[0] = replace(
        result.detections[0],
        mask_box=(9, 12, 20, 10, 30, 44),
        mask=np.ones((1, 18, 24), bool),
    )

    write_dicom_seg(tmp_path, ExportInput(result))

    seg, masks = read(tmp_path / 'seg.dcm', result)
    assert seg.number_of_segments == 1
    assert {*masks} == {2} and masks[2].any()
    assert EXPORTER.caveats(result) == [
        'the DICOM SEG has no segment of nodule 1: no voxel of its mask is on '
        'a slice'
    ]


@pytest.mark.slow
def test_a_nodule_of_a_real_series(test_data: Path, tmp_path: Path) -> None:
    """The mask is where the table says, on slices stored head first."""
    folder = test_data / 'luna16-mini'
    (series,) = (folder / 'subset1-dicom').iterdir()
    volume = load_volume(series)
    (nodule,) = read_annotations(folder / 'annotations.csv')[volume.series_uid]
    grid = volume.geometry
    (box,) = grid.sphere_box([nodule.center_mm], [nodule.diameter_mm])
    edges = [*np.floor(box[:3]), *np.ceil(box[3:])]
    z1, y1, x1, z2, y2, x2 = map(int, edges)
    solid = volume.array[z1:z2, y1:y2, x1:x2] > -300
    detection = Detection(
        nodule.center_mm,
        0.9,
        size_mm=(nodule.diameter_mm,) * 3,
        mask_box=(z1, y1, x1, z2, y2, x2),
        mask=solid,
    )
    result = locate(
        SeriesResult(
            volume.series_uid, [detection], grid, slices=volume.slices
        ),
        None,
    )

    export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    for name in ('seg.dcm', 'sr.dcm'):
        assert_no_errors(tmp_path / name)
    _, masks = read(tmp_path / 'seg.dcm', result)
    assert masks[1].sum() == solid.sum() > 1000
    assert volume.array[masks[1]].min() > -300
    # 1-001.dcm is the highest slice, at z -10, and 1-043.dcm at z -115
    (located,) = result.detections
    assert located.instance_number == 43
    assert volume.slices[located.slice_number - 1].path.name == '1-043.dcm'


def test_without_masks_there_is_no_file(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')

    written = export_result(tmp_path, negative(result), ['dicom_seg'])

    assert not written.files and not (tmp_path / 'seg.dcm').exists()
