"""Measurements as a DICOM structured report, template TID 1500.

Each nodule is a group of measurements of a segment of the SEG that was
written with it, or of an ellipsoid that fills the nodule's box.
"""

from __future__ import annotations

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
from lungdet.structures import Detection, SeriesResult

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

    nearest = slice_numbers(result) or [len(result.slices) // 2 + 1]
    wanted = {result.slices[k - 1].sop_instance_uid for k in nearest}
    if seg is not None:
        wanted |= {str(uids[2]) for uids in seg.get_source_image_uids()}
    headers = read_headers(
        [s for s in result.slices if s.sop_instance_uid in wanted]
    )
    segments = {} if seg is None else _segments_by_name(seg)
    groups = [
        _nodule(result, k, detection, headers[0], seg, segments)
        for k, detection in result.numbered()
    ]
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


def _segments_by_name(seg: Any) -> dict[str, int]:
    """Segment number of each tracking identifier."""
    return {
        seg.get_segment_description(number).tracking_id: number
        for number in seg.segment_numbers
    }


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
    header: Any,
    seg: Any,
    segments: dict[str, int],
) -> Any:
    """The group of one nodule: its region, diameter, volume and score."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = algorithm(result)
    region: dict[str, Any] = {}
    tracking_uid = hd.UID()
    if number := segments.get(name_of(k)):
        tracking_uid = seg.get_segment_description(number).tracking_uid
        # not from_segmentation, which fails on a SEG of one segment
        region['referenced_segment'] = hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            number,
            source_series=hd.sr.SourceSeriesForSegmentation(
                header.SeriesInstanceUID
            ),
        )
    else:
        region['referenced_volume_surface'] = _ellipsoid(
            detection, result.geometry, header
        )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=tracking_uid, identifier=name_of(k)
        ),
        finding_type=codes.SCT.Nodule,
        finding_sites=[_site(detection)],
        algorithm_id=hd.sr.AlgorithmIdentification(name, version),
        measurements=_measurements(detection),
        **region,
    )


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


def _measurements(detection: Detection) -> list[Any]:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    score = hd.sr.CodedConcept('score', SCHEME, 'Detection score')
    known = (
        (score, detection.score, codes.UCUM.NoUnits),
        (codes.SCT.Diameter, detection.diameter_mm, codes.UCUM.Millimeter),
        (codes.SCT.Volume, detection.volume_mm3, codes.UCUM.CubicMillimeter),
    )
    return [
        hd.sr.Measurement(name=name, value=value, unit=unit)
        for name, value, unit in known
        if value is not None
    ]


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
