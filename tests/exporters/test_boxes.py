from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.exporters.boxes import scan_boxes, sizes_xyz
from lungdet.geometry import Geometry
from lungdet.structures import Detection
from tests.exporters.scene import empty_result, flipped_scan, make_result


def itk_image(grid: Geometry) -> sitk.Image:
    image = sitk.Image([*grid.size_xyz], sitk.sitkUInt8)
    image.SetOrigin([*grid.origin])
    image.SetSpacing([*grid.spacing_xyz])
    image.SetDirection([*grid.direction.ravel()])
    return image


def test_boxes_on_the_scan_are_those_of_simpleitk() -> None:
    """Corners of the box in the world, as indices that SimpleITK gives."""
    grid = flipped_scan()
    result = make_result(grid)
    image = itk_image(grid)

    boxes = scan_boxes(result)

    for box, detection in zip(boxes, result.detections):
        half = np.array(detection.size_mm)[::-1] / 2
        corners = [
            image.TransformPhysicalPointToContinuousIndex(
                [*(np.array(detection.center_mm) + sign * half)]
            )
            for sign in (-1, 1)
        ]
        low, high = np.min(corners, 0)[::-1], np.max(corners, 0)[::-1]
        np.testing.assert_allclose(
            box, [*(low + 0.5), *(high + 0.5)], atol=1e-9
        )


def test_a_detection_without_a_box_is_named() -> None:
    result = empty_result()
    assert scan_boxes(result).shape == (0, 6)
    result.detections.append(Detection((0, 0, 0), 0.5))

    with pytest.raises(SeriesError, match='scan 1.2: detection 1 has no box'):
        sizes_xyz(result)
