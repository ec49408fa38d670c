"""Where in the scan and in the lungs each detection lies."""

from __future__ import annotations

from dataclasses import replace

from lungdet.io.slice_numbers import slice_numbers
from lungdet.prepare.lung_sides import LungSides
from lungdet.structures import Detection, SeriesResult


def locate(result: SeriesResult, sides: LungSides | None) -> SeriesResult:
    """The result, with slice, lung and zone added to its detections.

    Args:
        result: With the DICOM slices of its scan, where it has any.
        sides: The two lungs, None if they are not known.
    """
    numbers = slice_numbers(result)
    return replace(
        result,
        detections=[
            _located(result, detection, number, sides)
            for detection, number in zip(result.detections, numbers)
        ],
    )


def _located(
    result: SeriesResult,
    detection: Detection,
    number: int,
    sides: LungSides | None,
) -> Detection:
    instance = uid = None
    if result.slices:
        source = result.slices[number - 1]
        instance, uid = source.instance_number, source.sop_instance_uid
    side, zone = (
        (None, None)
        if sides is None
        else sides.side_and_zone(detection.center_mm)
    )
    return replace(
        detection,
        slice_number=number,
        instance_number=instance,
        sop_instance_uid=uid,
        lung_side=side,
        lung_zone=zone,
    )
