"""Measurements as a DICOM structured report, template TID 1500.

Each nodule has two groups of measurements with one tracking identifier. The
first is about its region (TID 1411): a segment of the SEG that was written
with it, or an ellipsoid that fills its box. The second gives its diameter (TID
1501), with a line of that length on the slice nearest to its centre.

Source: DICOM PS3.16, TID 300 and 320, where a length is inferred from a
polyline; measurements of a region (TID 1419) have no coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput, name_of
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
    region: dict[str, Any] = {}
    if segment is not None:
        # not from_segmentation, which fails on a SEG of one segment
        region['referenced_segment'] = hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            segment.segment_number,
            source_series=hd.sr.SourceSeriesForSegmentation(
                header.SeriesInstanceUID
            ),
        )
    else:
        region['referenced_volume_surface'] = _ellipsoid(
            detection, result.geometry, header
        )
    groups: list[Any] = [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            **_about(result, k, detection, tracking_uid),
            measurements=_of_region(detection),
            **region,
        )
    ]
    if detection.diameter_mm is not None:
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                **_about(result, k, detection, tracking_uid),
                measurements=[
                    _diameter(detection, detection.diameter_mm, source, header)
                ],
            )
        )
    return groups


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


def _diameter(
    detection: Detection, diameter_mm: float, source: SourceSlice, header: Any
) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    line = diameter_line(detection.center_mm, diameter_mm, source.geometry)
    image = hd.sr.SourceImageForRegion(
        header.SOPClassUID, header.SOPInstanceUID
    )
    return hd.sr.Measurement(
        name=codes.SCT.Diameter,
        value=diameter_mm,
        unit=codes.UCUM.Millimeter,
        referenced_coordinates=None
        if line is None
        else [hd.sr.CoordinatesForMeasurement('POLYLINE', line, image)],
    )


def diameter_line(
    center_mm: Sequence[float], diameter_mm: float, grid: Geometry
) -> np.ndarray | None:
    """Ends of a line that shows a diameter on a slice.

    Its middle is the centre, projected onto the slice. It runs along the rows,
    or along the columns where the slice ends before it does.

    Args:
        center_mm: World point (x, y, z).
        diameter_mm: Length of the line.
        grid: Grid (1, rows, columns) of the slice.

    Returns:
        (2, 2): column and row of each end, as SCOORD counts them, from the
        outer corner of the first pixel; None if the slice is too small.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 8, 20), spacing_zyx=(1, 1, 0.5), origin_xyz=(0, 0, 0)
        ... )
        >>> diameter_line((5, 3, 0.2), 4, grid).tolist()
        [[6.5, 3.5], [14.5, 3.5]]
        >>> diameter_line((1, 3, 0.2), 4, grid).tolist()
        [[2.5, 1.5], [2.5, 5.5]]
    """
    middle = grid.to_index([center_mm])[0, :0:-1] + 0.5
    ends = grid.shape[:0:-1]
    for along in np.eye(2):
        half = diameter_mm / 2 / grid.spacing[:0:-1] * along
        line = np.array([middle - half, middle + half])
        if (line >= 0).all() and (line <= ends).all():
            return line
    return None


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
)
