"""Where in the scan and in the lungs each detection lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lungdet.prepare.lung_sides import LungSides
from lungdet.structures import Detection, SeriesResult


def locate(result: SeriesResult, sides: LungSides | None) -> SeriesResult:
    """The result, its detections with their slice, lung and zone.

    Args:
        result: With the DICOM slices of its scan, where it has any.
        sides: Of its lungs, None where they are not known.
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


def slice_numbers(result: SeriesResult) -> list[int]:
    """Slice of the scan nearest to each centre, from 1 in its own order.

    DICOM slices may be unevenly spaced, so they are looked up by their
    positions along the normal.

    Args:
        result: With its scan's geometry, and DICOM slices where it has any.
    """
    if not result.detections:
        return []
    centers = np.array([d.center_mm for d in result.detections])
    if not result.slices:
        grid = result.scan_geometry
        nearest = np.floor(grid.to_index(centers)[:, 0] + 0.5)
        return [int(k) + 1 for k in np.clip(nearest, 0, grid.shape[0] - 1)]
    normal = result.slices[0].geometry.direction[:, 2]
    heights = [float(s.geometry.origin @ normal) for s in result.slices]
    gaps = np.abs((centers @ normal)[:, None] - heights)
    return [int(k) + 1 for k in gaps.argmin(1)]
