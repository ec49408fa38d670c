"""A scan with three balls as nodules, and a detector's result."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.geometry import Geometry
from lungdet.report.html.cine import ScanImage
from lungdet.report.html.scan_report import ScanReference
from lungdet.structures import (
    Annotation,
    Detection,
    SeriesResult,
    SourceSlice,
)

GRID = Geometry.from_parts(
    (30, 60, 80), spacing_zyx=(2, 1, 0.8), origin_xyz=(-30, -20, -120)
)
SOLID_HU, LUNG_HU = 50, -850
NODULES = [  # centre in mm, diameter
    Annotation((0.0, 5.0, -80.0), 12.0),
    Annotation((20.0, 20.0, -100.0), 9.0),
    Annotation((-20.0, 25.0, -70.0), 10.0),
]
REFERENCE = ScanReference(
    'made up', NODULES, [Annotation((25.0, -10.0, -75.0), 6.0)]
)
HOSTILE = '</script><img src=x onerror=alert(1)>&\u2028'


def ball(nodule: Annotation) -> np.ndarray:
    """Voxels of the grid inside a nodule."""
    index = np.indices(GRID.shape).reshape(3, -1).T
    gap = GRID.to_world(index) - nodule.center_mm
    inside = np.linalg.norm(gap, axis=1) < (nodule.diameter_mm or 0) / 2
    return inside.reshape(GRID.shape)


def make_image() -> ScanImage:
    """The scan; the first nodule is the mask of the first detection."""
    array = np.full(GRID.shape, LUNG_HU, np.int16)
    for nodule in NODULES:
        array[ball(nodule)] = SOLID_HU
    labels = ball(NODULES[0]).astype(np.uint8)
    return ScanImage(array, GRID, labels)


def make_result(uid: str = '1.2.3') -> SeriesResult:
    """A hit, a hit off the centre, a false one, one on an exclusion."""
    first, second, _ = NODULES
    x, y, z = second.center_mm
    detections = [
        Detection(
            first.center_mm,
            0.97,
            size_mm=(12.0, 12.0, 12.0),
            slice_number=21,
            instance_number=80,
            lung_side='left',
            lung_zone='upper',
            volume_mm3=905.0,
        ),
        Detection((x + 2, y, z), 0.6, size_mm=(8.0, 9.0, 10.0)),
        Detection((-10.0, 0.0, -100.0), 0.3, size_mm=(6.0, 6.0, 6.0)),
        Detection((25.0, -10.0, -75.0), 0.1),
    ]
    return SeriesResult(uid, detections, GRID, slices=make_slices())


def make_slices() -> tuple[SourceSlice, ...]:
    """DICOM slices of the scan, numbered from the head."""
    return tuple(
        SourceSlice(
            Path('x'),
            GRID.crop((k, 0, 0), (1, *GRID.shape[1:])),
            instance_number=100 - k,
        )
        for k in range(GRID.shape[0])
    )
