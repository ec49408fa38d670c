"""Measurements as a DICOM structured report, template TID 1500.

Each nodule has two groups of measurements with one tracking identifier. The
first is about its region (TID 1411): a segment of the SEG that was written
with it, or an ellipsoid that fills its box. The second gives its diameter (TID
1501), with a line of that length on the slice nearest to its centre.

Source: DICOM PS3.16, TID 300 and 320, where a length is inferred from a
polyline; measurements of a region (TID 1419) have no coordinates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput, name_of
from lungdet.exporters.diameter_line import diameter_line, pixel_positions
from lungdet.exporters.dicom_seg import SEG
from lungdet.exporters.dicom_source import (
    MANUFACTURER,
    algorithm,
    lenient,
    read_headers,
    save,
    series_arguments,
)
from lungdet.geometry import Geometry
from lungdet.io.slice_numbers import slice_numbers
from lungdet.structures import Detection, SeriesResult, SourceSlice

REPORT = 'sr.dcm'
SCHEME = '99LUNGDET'
POINT_MM = (1.0, 1.0, 1.0)  # of a detection without a box


def write_dicom_sr(folder: Path, scan: ExportInput) -> list[str]:
    """Write the report; without a nodule, it says so."""
    seg = None
    if 'dicom_seg' in scan.result.files:
        import highdicom as hd

        seg = hd.seg.segread(folder / SEG)
    save(folder / REPORT, build_sr(scan.result, seg))
    return [REPORT]


def build_sr(result: SeriesResult, seg: Any = None) -> Any:
    """The report of a result.

    Args:
        result: With source slices.
        seg: The SEG of the same result, to measure its segments; None to
            measure ellipsoids.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    nearest = [result.slices[number - 1] for number in slice_numbers(result)]
    used = nearest or [result.slices[len(result.slices) // 2]]
    wanted = {one.sop_instance_uid for one in used}
    if seg is not None:
        wanted |= {str(uids[2]) for uids in seg.get_source_image_uids()}
    headers = read_headers(
        [s for s in result.slices if s.sop_instance_uid in wanted]
    )
    by_uid = {header.SOPInstanceUID: header for header in headers}
    segments = {} if seg is None else _segments_by_name(seg)
    groups: list[Any] = []
    for (k, detection), source in zip(result.numbered(), nearest):
        header = by_uid[source.sop_instance_uid]
        segment = segments.get(name_of(k))
        groups += _nodule(result, k, detection, source, header, seg, segment)
    with lenient():
        report = hd.sr.MeasurementReport(
            observation_context=_observer(result),
            procedure_reported=hd.sr.CodedConcept('24627-2', 'LN', 'CT Chest'),
            imaging_measurements=groups or [_no_nodule(result, headers[0])],
            title=codes.DCM.ImagingMeasurementReport,
        )
        return hd.sr.Comprehensive3DSR(
            evidence=headers if seg is None else [*headers, seg],
            content=report[0],
            is_complete=False,
            is_final=False,
            is_verified=False,
            **series_arguments(headers[0], result, 2, 'Measurements'),
        )


def _segments_by_name(seg: Any) -> dict[str, Any]:
    """Description of each segment, by its tracking identifier."""
    descriptions = map(seg.get_segment_description, seg.segment_numbers)
    return {one.tracking_id: one for one in descriptions}


def _observer(result: SeriesResult) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    name, version = algorithm(result)
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=(
                hd.sr.DeviceObserverIdentifyingAttributes(
                    uid=generate_uid(entropy_srcs=[name, version]),
                    name=name,
                    manufacturer_name=MANUFACTURER,
                    model_name=name,
                    serial_number=version,
                )
            ),
        )
    )


def _nodule(
    result: SeriesResult,
    k: int,
    detection: Detection,
    source: SourceSlice,
    header: Any,
    seg: Any,
    segment: Any,
) -> list[Any]:
    """The groups of one nodule: its region, and its diameter on a slice.

    Args:
        result: The nodule's.
        k: Its number.
        detection: The nodule.
        source: The slice nearest to its centre.
        header: Its header.
        seg: The SEG, None without one.
        segment: Description of its segment, None without one.
    """
    import highdicom as hd

    tracking_uid = hd.UID() if segment is None else segment.tracking_uid
    region = (
        {
            'referenced_volume_surface': _ellipsoid(
                detection, result.geometry, header
            )
        }
        if segment is None
        else {'referenced_segment': _reference(seg, segment, header)}
    )
    of_region = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **_about(result, k, detection, tracking_uid),
        measurements=_of_region(detection),
        **region,
    )
    on_slice = hd.sr.MeasurementsAndQualitativeEvaluations(
        **_about(result, k, detection, tracking_uid),
        measurements=_on_slice(detection, source, header),
    )
    if segment is None:
        # OHIF draws the first coordinates that a group contains, but fails on
        # an ellipsoid
        on_slice[0].ContentSequence.append(_mark(detection, source, header))
        return [on_slice, of_region]
    return [of_region, on_slice]


def _reference(seg: Any, segment: Any, header: Any) -> Any:
    """A segment; not ``from_segmentation``, which fails on a single one."""
    import highdicom as hd

    return hd.sr.ReferencedSegment(
        seg.SOPClassUID,
        seg.SOPInstanceUID,
        segment.segment_number,
        source_series=hd.sr.SourceSeriesForSegmentation(
            header.SeriesInstanceUID
        ),
    )


def _about(
    result: SeriesResult, k: int, detection: Detection, tracking_uid: str
) -> dict[str, Any]:
    """What every group of a nodule says of it."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = algorithm(result)
    return {
        'tracking_identifier': hd.sr.TrackingIdentifier(
            uid=tracking_uid, identifier=name_of(k)
        ),
        'finding_type': codes.SCT.Nodule,
        'finding_sites': [_site(detection)],
        'algorithm_id': hd.sr.AlgorithmIdentification(name, version),
    }


def _ellipsoid(detection: Detection, grid: Geometry, header: Any) -> Any:
    """An ellipsoid that fills the detection's box, or a point without one."""
    import highdicom as hd

    size = np.array(detection.size_mm or POINT_MM)[::-1]
    ends = grid.direction * size / 2  # columns: x, y and z
    points = [
        np.array(detection.center_mm) + sign * ends[:, axis]
        for axis in range(3)
        for sign in (-1, 1)
    ]
    return hd.sr.VolumeSurface(
        graphic_type=hd.sr.GraphicTypeValues3D.ELLIPSOID,
        graphic_data=np.array(points),
        frame_of_reference_uid=header.FrameOfReferenceUID,
        source_series=hd.sr.SourceSeriesForSegmentation(
            header.SeriesInstanceUID
        ),
    )


def _site(detection: Detection) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    sides = {'left': codes.SCT.Left, 'right': codes.SCT.Right}
    return hd.sr.FindingSite(
        anatomic_location=codes.SCT.Lung,
        laterality=sides.get(detection.lung_side or ''),
    )


def _of_region(detection: Detection) -> list[Any]:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    score = hd.sr.CodedConcept('score', SCHEME, 'Detection score')
    known = (
        (score, detection.score, codes.UCUM.NoUnits),
        (codes.SCT.Volume, detection.volume_mm3, codes.UCUM.CubicMillimeter),
    )
    return [
        hd.sr.Measurement(name=name, value=value, unit=unit)
        for name, value, unit in known
        if value is not None
    ]


def _on_slice(
    detection: Detection, source: SourceSlice, header: Any
) -> list[Any]:
    """The diameter, where there is one, with its line."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    if detection.diameter_mm is None:
        return []
    kind, points = _graphic(detection, source)
    return [
        hd.sr.Measurement(
            name=codes.SCT.Diameter,
            value=detection.diameter_mm,
            unit=codes.UCUM.Millimeter,
            referenced_coordinates=None
            if kind == 'POINT'
            else [
                hd.sr.CoordinatesForMeasurement(kind, points, _image(header))
            ],
        )
    ]


def _mark(detection: Detection, source: SourceSlice, header: Any) -> Any:
    """The line as what a group is about (TID 1501, row 10c), or a point."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    kind, points = _graphic(detection, source)
    mark: Any = hd.sr.ScoordContentItem(
        codes.DCM.SourceOfMeasurement,
        kind,
        points,
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    mark.ContentSequence = [_image(header)]
    return mark


def _image(header: Any) -> Any:
    import highdicom as hd

    return hd.sr.SourceImageForRegion(
        header.SOPClassUID, header.SOPInstanceUID
    )


def _graphic(
    detection: Detection, source: SourceSlice
) -> tuple[str, np.ndarray]:
    """Graphic type and data of a nodule: its diameter, or its centre."""
    grid = source.geometry
    if detection.diameter_mm is not None:
        line = diameter_line(detection.center_mm, detection.diameter_mm, grid)
        if line is not None:
            return 'POLYLINE', line
    return 'POINT', pixel_positions([detection.center_mm], grid)


def _no_nodule(result: SeriesResult, header: Any) -> Any:
    """The group that says that no nodule was found."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = algorithm(result)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=hd.UID(), identifier='no nodule'
        ),
        finding_type=codes.SCT.Nodule,
        algorithm_id=hd.sr.AlgorithmIdentification(name, version),
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(
                header.SOPClassUID, header.SOPInstanceUID
            )
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                name=codes.SCT.Nodule,
                value=hd.sr.CodedConcept('2667000', 'SCT', 'Absent'),
            )
        ],
    )


EXPORTER = Exporter(
    [REPORT],
    write_dicom_sr,
    library='highdicom',
    extra='dicom',
    needs_dicom=True,
    order=1,  # refers to the segments of dicom_seg
)
