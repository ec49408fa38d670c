from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement

from lungdet.errors import SeriesError
from lungdet.exporters import check_source, dicom_seg, export_result
from lungdet.exporters.dicom_source import masks_on_slices, read_headers
from lungdet.exporters.painting import paint_masks
from lungdet.io.image import load_volume
from tests.dicom_series import write_frames
from tests.exporters.dicom_scene import COMPLETE, write_series


def test_slices_of_an_even_series_are_those_of_the_label_image(
    tmp_path: Path,
) -> None:
    """Painted worst first, as there."""
    result = write_series(tmp_path / 'ct', kind='upside down')

    masks = masks_on_slices(result)

    painted = np.zeros(result.scan_geometry.shape, int)
    for k, number, region, mask in sorted(masks, key=lambda m: -m.number):
        painted[k][region][mask] = number
    labels = paint_masks(result, result.scan_geometry)
    assert {*np.unique(labels)} == {0, 1, 2}
    np.testing.assert_array_equal(painted, labels)


def test_headers_get_what_they_lack_and_keep_the_rest(tmp_path: Path) -> None:
    bare = write_series(tmp_path / 'bare', tags={'PatientID': 'P1'})

    first, second = read_headers(bare.slices[:2])

    assert first.PatientID == 'P1' and first.PatientName == ''
    for name in ('StudyInstanceUID', 'FrameOfReferenceUID'):
        assert first[name].value == second[name].value != ''
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_a_multi_frame_file_is_refused(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    (tmp_path / 'frames').mkdir()
    write_frames(
        tmp_path / 'frames' / 'all.dcm', [s.path for s in result.slices]
    )
    slices = load_volume(tmp_path / 'frames').slices

    with pytest.raises(SeriesError, match='this scan is one multi-frame'):
        check_source(['dicom_seg'], '1', slices)


INVALID = {
    'PatientBirthDate': '1950-03-14',
    'PatientSex': 'anonymised',
    'StudyDate': 'ANON',
    'StudyTime': '25:99',
}


def test_values_that_dicom_does_not_allow_are_empty(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    for k, one in enumerate(result.slices):
        data = pydicom.dcmread(one.path)
        for name, value in INVALID.items():
            tag = pydicom.datadict.tag_for_keyword(name)
            kind = pydicom.datadict.dictionary_VR(name)
            data.add(DataElement(tag, kind, value, validation_mode=0))
        data.SpecificCharacterSet = ['', 'ISO 2022 IR 87']
        data.PatientName = 'Yamada^Tarou=山田^太郎'
        data.AccessionNumber = '山1'
        data.FrameOfReferenceUID = f'1.2.{k + 1}'
        if not k:
            del data.StudyInstanceUID
        data.save_as(one.path)

    headers = read_headers(result.slices)
    export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    for header in headers:
        assert not any(header[name].value for name in INVALID)
        assert header.StudyInstanceUID == COMPLETE['StudyInstanceUID']
        assert header.FrameOfReferenceUID == '1.2.1'
    for name in ('seg.dcm', 'sr.dcm'):
        written = pydicom.dcmread(tmp_path / name)
        assert written.PatientName.ideographic == '山田^太郎'
        assert written.AccessionNumber == '山1'


def test_a_long_name_of_a_model_is_cut(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    model = replace(result.model, name='a\\b' + 70 * 'c')

    export_result(tmp_path, replace(result, model=model), ['dicom_seg'])

    written = pydicom.dcmread(tmp_path / 'seg.dcm')
    assert written.ManufacturerModelName == 'a/b' + 61 * 'c'


def test_headers_that_cannot_be_referred_to_name_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = write_series(tmp_path / 'ct')

    def refuse(*args: object) -> None:
        raise ValueError("cannot convert '1950-03-14'")

    monkeypatch.setattr(dicom_seg, 'build_seg', refuse)

    with pytest.raises(SeriesError, match='without dicom_seg') as raised:
        export_result(tmp_path, result, ['dicom_seg'])
    assert '1950' not in str(raised.value)
