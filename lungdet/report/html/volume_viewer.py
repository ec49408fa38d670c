"""A scan and its masks as small volumes for the NiiVue viewer in a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lungdet.geometry import Geometry, block_means
from lungdet.hounsfield import Window
from lungdet.io.image import write_image
from lungdet.report.html.cine import ScanImage
from lungdet.structures import Detection

VOXEL_MM = 2.0
SHOWN_DETECTIONS = 255  # the best ones; 8 bits number no more
HU_STEP = 10  # noise below it would only make the file larger
HU_LIMITS = (-1024, 1000)
SHOWN = Window(-950, 150)  # air around the body is transparent
# https://github.com/niivue/niivue, its file dist/niivue.umd.js
LIBRARY = 'niivue/niivue.umd.js'
VIEWER_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    'connect-src data: blob:; worker-src blob:'
)


@dataclass(frozen=True)
class EmbeddedVolumes:
    """What the viewer loads.

    Attributes:
        image: NIfTI of the HU, gzipped, in base64.
        labels: NIfTI of the detections' numbers, likewise.
        window: HU that are shown as black and as white.
        points: World points (x, y, z) in RAS mm of each detection.
    """

    image: str
    labels: str
    window: tuple[float, float]
    points: list[tuple[float, float, float]]


def embedded_volumes(
    image: ScanImage, detections: Sequence[Detection]
) -> EmbeddedVolumes:
    """A scan at about 2 mm, and the positions of its detections.

    Args:
        image: The voxels.
        detections: Those without a mask are shown as ellipsoids of their
            size.
    """
    factor = np.maximum(np.rint(VOXEL_MM / image.geometry.spacing), 1)
    hu, grid = block_means(
        image.array, image.geometry, factor.astype(int), limits=HU_LIMITS
    )
    hu = np.rint(hu / HU_STEP) * HU_STEP
    centers = [d.center_mm for d in detections]
    return EmbeddedVolumes(
        _nifti(hu.astype(np.int16), grid),
        _nifti(painted_detections(detections, grid, image), grid),
        (SHOWN.low, SHOWN.high),
        [(-x, -y, z) for x, y, z in centers],
    )


def painted_detections(
    detections: Sequence[Detection], grid: Geometry, image: ScanImage
) -> np.ndarray:
    """Number of the detection at each voxel, the best one on top.

    Args:
        detections: Best first.
        grid: Grid of the result.
        image: Has the detections' masks, if they are known.

    Returns:
        uint8 (z, y, x), 0 for none; detections after ``SHOWN_DETECTIONS`` are
        not painted.
    """
    painted = np.zeros(grid.shape, np.uint8)
    cells, numbers = _masked_cells(grid, image)
    best = list(enumerate(detections[:SHOWN_DETECTIONS], start=1))
    for k, detection in reversed(best):
        masked = cells[numbers == k]
        if len(masked):
            painted[tuple(masked.T)] = k
        else:
            region, inside = _ellipsoid(grid, detection)
            painted[region][inside] = k
    return painted


def _masked_cells(
    grid: Geometry, image: ScanImage
) -> tuple[np.ndarray, np.ndarray]:
    """Index (N, 3) on the grid of every masked voxel, and its number (N,)."""
    if image.labels is None:
        return np.zeros((0, 3), int), np.zeros(0, int)
    index = np.argwhere(image.labels > 0)
    cells = np.rint(grid.to_index(image.geometry.to_world(index)))
    cells = np.clip(cells, 0, np.array(grid.shape) - 1).astype(int)
    return cells, image.labels[tuple(index.T)]


def _ellipsoid(
    grid: Geometry, detection: Detection
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The region of a detection's box on the grid, and the voxels of that
    region which lie in the ellipsoid that fills the box.
    """
    # two voxels: one of their centres is always inside
    size = np.maximum(detection.size_mm or (0.0, 0.0, 0.0), 2 * grid.spacing)
    (box,) = grid.box_around([detection.center_mm], [size])
    low = np.clip(np.floor(box[:3]), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(box[3:]), 0, grid.shape).astype(int)
    center, half = (box[:3] + box[3:]) / 2 - 0.5, (box[3:] - box[:3]) / 2
    z, y, x = (
        ((np.arange(a, b) - c) / h) ** 2
        for a, b, c, h in zip(low, high, center, half)
    )
    inside = z[:, None, None] + y[:, None] + x <= 1
    return tuple(slice(a, b) for a, b in zip(low, high)), inside


def _nifti(array: np.ndarray, grid: Geometry) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'volume.nii.gz'
        write_image(path, array, grid)
        return base64.b64encode(path.read_bytes()).decode()
