from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sr.codedict import codes

from lungdet.exporters import export_result
from lungdet.structures import SeriesResult
from tests.exporters.dicom_scene import (
    COMPLETE,
    assert_no_errors,
    negative,
    write_series,
)

hd = pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")


def measured(group: Any) -> dict[str, float]:
    return {m.name.meaning: m.value for m in group.get_measurements()}


def groups_of(path: Path) -> list[Any]:
    report = hd.sr.srread(path)
    return report.content.get_volumetric_roi_measurement_groups()


def known(result: SeriesResult, k: int) -> dict[str, float]:
    detection = result.detections[k]
    values = {
        'Detection score': detection.score,
        'Diameter': detection.diameter_mm,
        'Volume': detection.volume_mm3,
    }
    return {name: value for name, value in values.items() if value is not None}


def test_groups_measure_the_segments(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    result.detections[0].lung_side = 'left'

    written = export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    assert {*written.files} == {'dicom_seg', 'dicom_sr'}
    seg = hd.seg.segread(tmp_path / 'seg.dcm')
    groups = groups_of(tmp_path / 'sr.dcm')
    assert [g.tracking_identifier for g in groups] == [
        'nodule 1',
        'nodule 2',
        'nodule 3',
    ]
    for k, group in enumerate(groups):
        assert measured(group) == pytest.approx(known(result, k))
    for number, group in enumerate(groups[:2], start=1):
        segment = seg.get_segment_description(number)
        assert group.tracking_uid == segment.tracking_uid
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert [*reference.referenced_segment_numbers] == [number]
    (site,) = groups[0].finding_sites
    assert site.laterality == codes.SCT.Left


def test_a_single_segment_is_measured(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    del result.detections[1:]

    export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    (group,) = groups_of(tmp_path / 'sr.dcm')
    assert [*group.referenced_segment.referenced_segment_numbers] == [1]
    assert_no_errors(tmp_path / 'sr.dcm')


@pytest.mark.parametrize('kind', ['plain', 'oblique'])
def test_without_a_seg_ellipsoids_fill_the_boxes(
    tmp_path: Path, kind: str
) -> None:
    result = write_series(tmp_path / 'ct', kind=kind)

    export_result(tmp_path, result, ['dicom_sr'])

    for k, group in enumerate(groups_of(tmp_path / 'sr.dcm')):
        detection = result.detections[k]
        points = np.array(group.roi.graphic_data).reshape(6, 3)
        np.testing.assert_allclose(
            points.mean(0), detection.center_mm, atol=1e-4
        )
        (box,) = result.geometry.box_around(
            [detection.center_mm], [detection.size_mm]
        )
        ends = result.geometry.to_index(points) + 0.5
        np.testing.assert_allclose(ends.min(0), box[:3], atol=1e-4)
        np.testing.assert_allclose(ends.max(0), box[3:], atol=1e-4)
        assert measured(group) == pytest.approx(known(result, k))


def test_a_scan_without_a_nodule_says_so(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')

    export_result(tmp_path, negative(result), ['dicom_seg', 'dicom_sr'])

    report = hd.sr.srread(tmp_path / 'sr.dcm')
    assert not report.content.get_volumetric_roi_measurement_groups()
    (group,) = report.content.get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.name.meaning == 'Nodule'
    assert evaluation.value.value == '2667000'  # SNOMED: absent


@pytest.mark.parametrize('tags', [COMPLETE, {}], ids=['complete', 'bare'])
@pytest.mark.parametrize('formats', [['dicom_sr'], ['dicom_seg', 'dicom_sr']])
def test_dciodvfy_finds_no_error(
    tmp_path: Path, formats: list[str], tags: dict[str, Any]
) -> None:
    result = write_series(tmp_path / 'ct', tags=tags)

    for one in (result, negative(result)):
        export_result(tmp_path, one, formats)
        assert_no_errors(tmp_path / 'sr.dcm')
