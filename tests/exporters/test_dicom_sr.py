from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from lungdet.exporters import export_result
from lungdet.exporters.diameter_line import pixel_positions
from lungdet.structures import SeriesResult
from tests.exporters.dicom_scene import (
    COMPLETE,
    assert_no_errors,
    negative,
    write_series,
)

GROUPS = '126010'  # DCM: imaging measurements
hd = pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")


def content_of(path: Path) -> Any:
    return hd.sr.srread(path).content


def regions_of(path: Path) -> list[Any]:
    return content_of(path).get_volumetric_roi_measurement_groups()


def measured(path: Path) -> dict[str, dict[str, float]]:
    """Values of each nodule, of all groups with its tracking identifier."""
    content = content_of(path)
    values: dict[str, dict[str, float]] = {}
    for group in (
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ):
        of_nodule = values.setdefault(group.tracking_uid, {})
        for one in group.get_measurements():
            assert one.name.meaning not in of_nodule
            of_nodule[one.name.meaning] = one.value
    return values


def known(result: SeriesResult) -> list[dict[str, float]]:
    return [
        {
            name: value
            for name, value in (
                ('Detection score', one.score),
                ('Diameter', one.diameter_mm),
                ('Volume', one.volume_mm3),
            )
            if value is not None
        }
        for one in result.detections
    ]


def test_groups_measure_the_segments(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')
    result.detections[0] = replace(result.detections[0], lung_side='left')

    written = export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    assert {*written.files} == {'dicom_seg', 'dicom_sr'}
    seg = hd.seg.segread(tmp_path / 'seg.dcm')
    groups = regions_of(tmp_path / 'sr.dcm')
    assert [g.tracking_identifier for g in groups] == [
        'nodule 1',
        'nodule 2',
        'nodule 3',
    ]
    values = measured(tmp_path / 'sr.dcm')
    for group, wanted in zip(groups, known(result), strict=True):
        assert values[group.tracking_uid] == pytest.approx(wanted)
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

    (group,) = regions_of(tmp_path / 'sr.dcm')
    assert [*group.referenced_segment.referenced_segment_numbers] == [1]
    assert_no_errors(tmp_path / 'sr.dcm')


@pytest.mark.parametrize('kind', ['plain', 'oblique'])
def test_without_a_seg_ellipsoids_fill_the_boxes(
    tmp_path: Path, kind: str
) -> None:
    result = write_series(tmp_path / 'ct', kind=kind)

    export_result(tmp_path, result, ['dicom_sr'])

    for k, group in enumerate(regions_of(tmp_path / 'sr.dcm')):
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
    assert [*measured(tmp_path / 'sr.dcm').values()] == [
        pytest.approx(wanted) for wanted in known(result)
    ]


@pytest.mark.parametrize('size', [None, (9.0, 9.0, 9.0)])
def test_a_viewer_that_knows_no_ellipsoids_finds_a_mark_before(
    tmp_path: Path, size: tuple[float, float, float] | None
) -> None:
    result = write_series(tmp_path / 'ct')
    result.detections[0] = replace(result.detections[0], size_mm=size)

    export_result(tmp_path, result, ['dicom_sr'])

    content = content_of(tmp_path / 'sr.dcm')
    (parts,) = [
        x for x in content[0].ContentSequence if x.name.value == GROUPS
    ]
    tracked = content.get_image_measurement_groups()[0].tracking_uid
    groups = [
        group.ContentSequence
        for group in parts.ContentSequence
        if tracked in [x.get('UID') for x in group.ContentSequence]
    ]
    marks = [x for group in groups for x in group if 'GraphicType' in x]
    kinds = [x.GraphicType for x in marks]
    assert kinds == ['POLYLINE' if size else 'POINT', 'ELLIPSOID']
    (source,) = [
        one
        for one in result.slices
        if one.sop_instance_uid == result.detections[0].sop_instance_uid
    ]
    middle = np.reshape(marks[0].GraphicData, (-1, 2)).mean(0)
    np.testing.assert_allclose(
        [middle],
        pixel_positions([result.detections[0].center_mm], source.geometry),
        atol=1e-4,
    )
    (image,) = marks[0].ContentSequence
    (reference,) = image.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == source.sop_instance_uid
    assert_no_errors(tmp_path / 'sr.dcm')


@pytest.mark.parametrize(
    'kind', ['plain', 'upside down', 'oblique', 'slanted', 'tilted', 'uneven']
)
def test_a_line_shows_each_diameter_on_the_nearest_slice(
    tmp_path: Path, kind: str
) -> None:
    result = write_series(tmp_path / 'ct', kind=kind)
    headers = {
        data.SOPInstanceUID: data
        for data in map(pydicom.dcmread, (tmp_path / 'ct').iterdir())
    }

    export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    groups = content_of(tmp_path / 'sr.dcm').get_image_measurement_groups()
    for group, detection in zip(groups, result.detections, strict=True):
        (measurement,) = group.get_measurements()
        (line,) = measurement.referenced_coordinates
        assert line.GraphicType == 'POLYLINE'
        assert line.RelationshipType == 'INFERRED FROM'
        (image,) = line.ContentSequence
        assert image.RelationshipType == 'SELECTED FROM'
        (reference,) = image.ReferencedSOPSequence
        header = headers[reference.ReferencedSOPInstanceUID]
        assert (line.value >= 0).all()
        assert (line.value <= (header.Columns, header.Rows)).all()
        a, b = world_of(line.value, header)
        assert np.linalg.norm(b - a) == pytest.approx(
            detection.diameter_mm, abs=1e-3
        )
        off = np.array(detection.center_mm) - (a + b) / 2
        normal = normal_of(header)
        height = off @ normal
        np.testing.assert_allclose(off, height * normal, atol=1e-3)
        assert abs(height) == pytest.approx(
            min(
                abs((detection.center_mm - position_of(one)) @ normal)
                for one in headers.values()
            ),
            abs=1e-3,
        )


def position_of(header: Any) -> np.ndarray:
    return np.array(header.ImagePositionPatient, float)


def axes_of(header: Any) -> np.ndarray:
    """Unit vectors along a row, and down a column."""
    return np.array(header.ImageOrientationPatient, float).reshape(2, 3)


def normal_of(header: Any) -> np.ndarray:
    return np.cross(*axes_of(header))


def world_of(points: np.ndarray, header: Any) -> np.ndarray:
    """World positions of (column, row), by PS3.3 C.18.6 and C.7.6.2."""
    down, across = map(float, header.PixelSpacing)
    steps = axes_of(header) * [[across], [down]]
    return position_of(header) + (points - 0.5) @ steps


def test_a_diameter_without_room_for_a_line_is_reported(
    tmp_path: Path,
) -> None:
    result = write_series(tmp_path / 'ct')
    result.detections[0] = replace(
        result.detections[0], size_mm=(90.0, 90.0, 90.0)
    )

    export_result(tmp_path, result, ['dicom_seg', 'dicom_sr'])

    groups = content_of(tmp_path / 'sr.dcm').get_image_measurement_groups()
    (measurement,) = groups[0].get_measurements()
    assert measurement.value == pytest.approx(90)
    assert not measurement.referenced_coordinates
    assert_no_errors(tmp_path / 'sr.dcm')


def test_a_scan_without_a_nodule_says_so(tmp_path: Path) -> None:
    result = write_series(tmp_path / 'ct')

    export_result(tmp_path, negative(result), ['dicom_seg', 'dicom_sr'])

    content = content_of(tmp_path / 'sr.dcm')
    assert not content.get_volumetric_roi_measurement_groups()
    (group,) = content.get_image_measurement_groups()
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
