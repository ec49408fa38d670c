"""The axial slices of a scan for a slider, and the positions of its boxes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lungdet.geometry import Geometry
from lungdet.io.slice_numbers import nearest_slices
from lungdet.report.html.view import Letters, edge_letters, grey, jpeg
from lungdet.structures import SeriesResult

MIN_PIXEL_MM = 1.0  # finer slices are averaged
MAX_CINE_BYTES = 8_000_000  # of all slices together, before base64
NUM_PROBES = 8  # slices that are encoded to estimate the size
PARALLEL = 0.9  # cosine from which slices of two grids are the same


@dataclass(frozen=True, eq=False)
class ScanImage:
    """Voxels that a report shows.

    Attributes:
        array: int16 HU (z, y, x), axes along LPS or nearest to it.
        geometry: Its grid.
        labels: Number of the detection whose mask a voxel is in, 0 for none,
            (z, y, x) on ``geometry``; None without masks.
    """

    array: np.ndarray
    geometry: Geometry
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class CineBox:
    """A box in the slices of a cine.

    Attributes:
        label: Printed next to it.
        kind: How it is drawn, such as ``'detection'`` or ``'nodule'``.
        score: The page's filter hides the box below this score; None is never
            hidden.
        first: Number of the first picture that shows it, from 0.
        last: Number of the last one.
        x: Left edge, in pixels.
        y: Top edge.
        width: In pixels.
        height: In pixels.
    """

    label: str
    kind: str
    score: float | None
    first: int
    last: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Cine:
    """Axial slices from head to feet.

    Attributes:
        images: JPEG files in base64.
        captions: Caption of each: slice, instance and height.
        width: Pixels of a row.
        height: Pixels of a column.
        letters: Letters at the edges.
        index_of: First array index along z, and the step to the next picture.
        pixel: Array voxels (y, x) of a pixel.
        caveat: Says that slices were left out; empty if not.
    """

    images: tuple[str, ...]
    captions: tuple[str, ...]
    width: int
    height: int
    letters: Letters
    index_of: tuple[int, int]
    pixel: tuple[float, float]
    caveat: str = ''

    def number_of(self, index_z: float) -> int:
        """The picture nearest to an array index along z."""
        start, step = self.index_of
        number = int(np.floor((index_z - start) / step + 0.5))
        return min(max(number, 0), len(self.images) - 1)

    def box(
        self, edges: np.ndarray, label: str, kind: str, score: float | None
    ) -> CineBox:
        """An edge box (6,) of the array in pixels and pictures.

        Args:
            edges: z1, y1, x1, z2, y2, x2.
            label: Printed next to it.
            kind: How it is drawn.
            score: Score of a detection.
        """
        z1, y1, x1, z2, y2, x2 = (float(v) for v in edges)
        first, last = self._numbers_between(z1 - 0.5, z2 - 0.5)
        py, px = self.pixel
        return CineBox(
            label,
            kind,
            score,
            first,
            last,
            round(x1 / px, 2),
            round(y1 / py, 2),
            round((x2 - x1) / px, 2),
            round((y2 - y1) / py, 2),
        )

    def _numbers_between(self, low: float, high: float) -> tuple[int, int]:
        """The pictures of a range of array indices, at least the nearest
        one."""
        start, step = self.index_of
        ends = sorted((index - start) / step for index in (low, high))
        first, last = int(np.ceil(ends[0])), int(np.floor(ends[1]))
        if first > last:
            first = last = self.number_of((low + high) / 2)
        final = len(self.images) - 1
        return min(max(first, 0), final), min(max(last, 0), final)


def make_cine(image: ScanImage, result: SeriesResult) -> Cine:
    """Encode the slices of a scan, at most ``MAX_CINE_BYTES`` of them.

    Args:
        image: The voxels.
        result: Result of the scan, whose slices number the pictures.
    """
    depth, rows, columns = image.array.shape
    spacing = image.geometry.spacing[1:]
    scale = np.minimum(spacing / MIN_PIXEL_MM, 1)
    height, width = (
        max(int(round(n * s)), 1) for n, s in zip((rows, columns), scale)
    )

    def encoded(k: int) -> bytes:
        picture = Image.fromarray(grey(image.array[k]))
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BOX)
        return jpeg(np.asarray(picture))

    probes = np.unique(np.linspace(0, depth - 1, NUM_PROBES).astype(int))
    mean = np.mean([len(encoded(int(k))) for k in probes])
    step = int(np.ceil(mean * depth / MAX_CINE_BYTES))
    shown = range(depth - 1, -1, -step)  # from the head
    caveat = f'one slice of {step} is shown' if step > 1 else ''
    return Cine(
        tuple(base64.b64encode(encoded(k)).decode() for k in shown),
        tuple(slice_captions(image, result, shown)),
        width,
        height,
        edge_letters(image.geometry, 0),
        (depth - 1, -step),
        (rows / height, columns / width),
        caveat,
    )


def slice_captions(
    image: ScanImage, result: SeriesResult, indices: Sequence[int]
) -> list[str]:
    """Captions of slices: number, instance number, and height in mm, if known.

    A slice has a number if the scan's own slices are axial too: that of the
    nearest one, from 1 in the order of the scan.

    Args:
        image: Image whose array the slices belong to.
        result: Result of the scan.
        indices: Along the array's first axis.
    """
    source, slices = result.scan_geometry, result.slices
    normal = image.geometry.direction[:, 2]
    middle = (np.array(image.array.shape[1:]) - 1) / 2
    points = image.geometry.to_world([[k, *middle] for k in indices])
    heights = [f'{height:.1f} mm' for height in points @ normal]
    if abs(normal @ source.direction[:, 2]) <= PARALLEL:
        return heights
    captions = []
    for number, height in zip(nearest_slices(result, points), heights):
        words = [f'slice {number} of {len(slices) or source.shape[0]}']
        if slices and slices[number - 1].instance_number is not None:
            words.append(f'instance {slices[number - 1].instance_number}')
        captions.append(', '.join([*words, height]))
    return captions
