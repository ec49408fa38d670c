"""The axial slices of a scan for a slider, with where its boxes are."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lungdet.geometry import Geometry
from lungdet.report.html.view import Letters, edge_letters, grey, jpeg
from lungdet.structures import SourceSlice

MIN_PIXEL_MM = 1.0  # finer slices are averaged
MAX_BYTES = 8_000_000  # of all slices together, before base64
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
        slices: DICOM slices of the scan, in order; empty for an image file.
    """

    array: np.ndarray
    geometry: Geometry
    labels: np.ndarray | None = None
    slices: Sequence[SourceSlice] = ()


@dataclass(frozen=True)
class CineBox:
    """A box in the slices of a cine.

    Attributes:
        label: Printed next to it.
        kind: How it is drawn, such as ``'detection'`` or ``'nodule'``.
        score: Below which the reader's filter hides it; None is not hidden.
        first: Number of the first picture that shows it, from 0.
        last: Of the last one.
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
        captions: Of each: slice, instance and height.
        width: Pixels of a row.
        height: Pixels of a column.
        letters: At the edges.
        index_of: First array index along z, and the step to the next picture.
        pixel: Array voxels (y, x) of a pixel.
        caveat: That slices were left out, or an empty text.
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
            score: Of a detection.
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
        """The pictures of a range of array indices, at least the nearest."""
        start, step = self.index_of
        ends = sorted((index - start) / step for index in (low, high))
        first, last = int(np.ceil(ends[0])), int(np.floor(ends[1]))
        if first > last:
            first = last = self.number_of((low + high) / 2)
        final = len(self.images) - 1
        return min(max(first, 0), final), min(max(last, 0), final)


def make_cine(image: ScanImage, source: Geometry) -> Cine:
    """Encode the slices of a scan, at most ``MAX_BYTES`` of them.

    Args:
        image: The voxels.
        source: Grid of the scan as its file states it, by which slices are
            numbered.
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
    step = int(np.ceil(mean * depth / MAX_BYTES))
    shown = range(depth - 1, -1, -step)  # from the head
    caveat = f'one slice of {step} is shown' if step > 1 else ''
    return Cine(
        tuple(base64.b64encode(encoded(k)).decode() for k in shown),
        tuple(slice_captions(image, source, shown)),
        width,
        height,
        edge_letters(image.geometry, 0),
        (depth - 1, -step),
        (rows / height, columns / width),
        caveat,
    )


def slice_captions(
    image: ScanImage, source: Geometry, indices: Iterable[int]
) -> list[str]:
    """What is known of slices: number, instance number, height in mm.

    A slice has a number where the scan's own slices are axial too: that of
    the nearest one, from 1 in the scan's order.

    Args:
        image: Whose array the slices are of.
        source: Grid of the scan as its file states it.
        indices: Along the array's first axis.
    """
    normal = image.geometry.direction[:, 2]
    numbered = abs(normal @ source.direction[:, 2]) > PARALLEL
    middle = (np.array(image.array.shape[1:]) - 1) / 2
    captions = []
    for k in indices:
        (point,) = image.geometry.to_world([[k, *middle]])
        words = [f'{point @ normal:.1f} mm']
        nearest = int(np.rint(source.to_index(point[None])[0, 0]))
        if numbered and 0 <= nearest < source.shape[0]:
            words.insert(0, f'slice {nearest + 1} of {source.shape[0]}')
            words[1:1] = _instance(image.slices, nearest)
        captions.append(', '.join(words))
    return captions


def _instance(slices: Sequence[SourceSlice], nearest: int) -> list[str]:
    if not nearest < len(slices):
        return []
    number = slices[nearest].instance_number
    return [] if number is None else [f'instance {number}']
