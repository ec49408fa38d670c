from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.exporters import check_source
from lungdet.exporters.dicom_source import masks_on_slices, read_headers
from lungdet.exporters.painting import paint_masks
from lungdet.io.image import load_volume
from tests.dicom_series import write_frames
from tests.exporters.dicom_scene import write_series


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
