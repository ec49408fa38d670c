from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.io.image import read_image
from lungdet.report.html.volume_viewer import (
    EmbeddedVolumes,
    embedded_volumes,
    painted_detections,
)
from lungdet.structures import Detection
from tests.report.html.scene import (
    GRID,
    NODULES,
    ball,
    make_image,
    make_result,
)


def test_the_viewer_gets_the_scan_and_its_detections_in_world_mm(
    tmp_path: Path,
) -> None:
    detections = make_result().detections
    volumes = embedded_volumes(make_image(), detections)

    assert isinstance(volumes, EmbeddedVolumes)
    images = []
    for name in ('image', 'labels'):
        path = tmp_path / f'{name}.nii.gz'
        path.write_bytes(base64.b64decode(getattr(volumes, name)))
        images.append(read_image(path))
    hu, labels = images
    assert hu.geometry.is_close(labels.geometry)
    np.testing.assert_allclose(hu.geometry.spacing, (2, 2, 1.6), atol=1e-6)
    assert labels.array.dtype == np.uint8
    for number, detection in enumerate(detections, start=1):
        # the viewer counts in RAS
        x, y, z = detection.center_mm
        assert volumes.points[number - 1] == (-x, -y, z)
        (index,) = np.rint(labels.geometry.to_index([detection.center_mm]))
        assert labels.array[tuple(index.astype(int))] == number
    for nodule in NODULES:
        (index,) = np.rint(hu.geometry.to_index([nodule.center_mm]))
        assert hu.array[tuple(index.astype(int))] == 50
    assert hu.array.min() == -850


def test_a_detection_without_a_mask_is_an_ellipsoid_of_its_size() -> None:
    image = make_image()
    one = Detection((0.0, 10.0, -90.0), 0.5, size_mm=(10.0, 12.0, 8.0))

    painted = painted_detections(
        [make_result().detections[0], one], GRID, image
    )

    volume = (painted == 2).sum() * np.prod(GRID.spacing)
    np.testing.assert_allclose(volume, np.pi / 6 * 10 * 12 * 8, rtol=0.12)
    assert np.array_equal(painted == 1, ball(NODULES[0]))  # as its mask is


def test_the_better_of_two_detections_is_on_top() -> None:
    both = [
        Detection((0.0, 10.0, -90.0), s, size_mm=(8.0, 8.0, 8.0))
        for s in (0.9, 0.5)
    ]
    image = replace(make_image(), labels=None)

    painted = painted_detections(both, GRID, image)

    assert (painted == 1).sum() > 0 and not (painted == 2).any()


def test_the_better_mask_is_on_top_where_voxels_share_a_cell() -> None:
    """Two detections share a coarse cell; the better one has its first
    voxel, so it is painted over if masks are painted in their order."""
    labels = np.zeros(GRID.shape, np.uint16)
    labels[10, 20, 20], labels[10, 21, 21] = 1, 2
    labels[10, 40, 40] = 300
    image = replace(make_image(), labels=labels)
    factors = np.array([1, 2, 2])
    shape = tuple(np.array(GRID.shape) // factors)
    coarse = GRID.mapped(np.diag(factors), (factors - 1) / 2, shape)
    far = Detection((0.0, 10.0, -90.0), 0.5, size_mm=(0.0, 0.0, 0.0))

    painted = painted_detections([far] * 300, coarse, image)

    assert painted[10, 10, 10] == 1
    assert painted[10, 20, 20] == 0  # 300 is beyond the numbers of 8 bits
    assert 255 not in painted[10]


def test_a_detection_at_the_edge_is_painted_inside_only() -> None:
    corner = Detection(tuple(GRID.origin), 0.5, size_mm=(9.0, 9.0, 9.0))

    image = replace(make_image(), labels=None)

    painted = painted_detections([corner], GRID, image)

    assert painted[0, 0, 0] == 1 and (painted == 1).sum() < 200
