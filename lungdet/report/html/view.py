"""Planes of a scan as pictures in a page, with box and outline as SVG."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from lungdet.geometry import Geometry, interpolate_axis
from lungdet.hounsfield import READING_WINDOW
from lungdet.report.pictures import PLANES, Picture

PLANE_PIXEL_MM = 0.5  # of a plane around a point
JPEG_QUALITY = 85
# a direction along the axes of LPS: towards its end, and away from it
LETTERS = (('L', 'R'), ('P', 'A'), ('H', 'F'))


class Letters(NamedTuple):
    """Where the patient's sides are: right R, left L, anterior A, posterior
    P, head H, feet F."""

    left: str
    right: str
    top: str
    bottom: str


class Rectangle(NamedTuple):
    """In pixels of a view, from its left and top edge."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class View:
    """One plane of a scan as a square picture.

    Attributes:
        name: ``'axial'``, ``'coronal'`` or ``'sagittal'``.
        image: JPEG as a data URI.
        side: Pixels along each side.
        letters: At the edges.
        box: Around the detection or nodule, None for a cross at the centre.
        outline: SVG path around the mask's pixels, empty without one.
    """

    name: str
    image: str
    side: int
    letters: Letters
    box: Rectangle | None
    outline: str


def views_of(picture: Picture) -> list[View]:
    """The three planes through a picture's centre, as figures show them.

    The patient's right is on the left, the head is up; sagittal planes show
    the front on the left.

    Args:
        picture: A point of a scan, with the voxels around it.
    """
    return [_view(picture, name, axis) for name, axis in PLANES]


def _view(picture: Picture, name: str, axis: int) -> View:
    rows, columns = (a for a in range(3) if a != axis)
    (center,) = picture.geometry.to_index(np.array([picture.center_mm]))
    side = 2 * int(np.ceil(picture.half_mm / PLANE_PIXEL_MM))
    step = PLANE_PIXEL_MM / picture.geometry.spacing
    offsets = np.arange(side) - (side - 1) / 2
    # rows run to the back in axial planes, to the head in others
    down = 1 if axis == 0 else -1
    y = center[rows] + down * offsets * step[rows]
    x = center[columns] + offsets * step[columns]
    k = int(np.clip(np.rint(center[axis]), 0, picture.array.shape[axis] - 1))
    outline = ''
    if picture.outline is not None:
        outline = outline_path(_nearest(picture.outline.take(k, axis), y, x))
    box = None
    if picture.box is not None:
        ends = (picture.box.reshape(2, 3) - 0.5 - center) / step
        left, right = ends[:, columns] + side / 2
        top, bottom = np.sort(down * ends[:, rows]) + side / 2
        box = Rectangle(
            *(round(float(v), 2) for v in (left, top)),
            *(round(float(v), 2) for v in (right - left, bottom - top)),
        )
    return View(
        name,
        data_uri(jpeg(_linear(picture.array.take(k, axis), y, x))),
        side,
        edge_letters(picture.geometry, axis),
        box,
        outline,
    )


def _linear(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Grey values of HU at rows ``y`` and columns ``x``, black outside."""
    hu = interpolate_axis(interpolate_axis(plane, y, 0), x, 1)
    return np.where(_inside(plane, y, x), grey(hu), 0).astype(np.uint8)


def _nearest(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    lines = [
        np.clip(np.floor(v + 0.5).astype(int), 0, n - 1)
        for v, n in zip((y, x), plane.shape)
    ]
    return plane[np.ix_(*lines)] & _inside(plane, y, x)


def _inside(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    in_y, in_x = (
        (v >= -0.5) & (v <= n - 0.5) for v, n in zip((y, x), plane.shape)
    )
    return in_y[:, None] & in_x


def edge_letters(geometry: Geometry, axis: int) -> Letters:
    """The letters at the edges of a plane across an array axis.

    Args:
        geometry: Geometry of the array; its axes run along LPS, or nearest to
            it.
        axis: 0 for axial, 1 for coronal, 2 for sagittal planes.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (4, 5, 6), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> ''.join(edge_letters(grid, 0)), ''.join(edge_letters(grid, 2))
        ('RLAP', 'APHF')
    """
    rows, columns = (a for a in range(3) if a != axis)
    right, left = _sides(geometry, columns)
    bottom, top = _sides(geometry, rows)
    if axis != 0:
        top, bottom = bottom, top
    return Letters(left, right, top, bottom)


def _sides(geometry: Geometry, axis: int) -> tuple[str, str]:
    """The letters at the end and at the start of an array axis."""
    cosines = geometry.direction[:, 2 - axis]
    along = int(np.abs(cosines).argmax())
    end, start = LETTERS[along]
    return (end, start) if cosines[along] > 0 else (start, end)


def outline_path(mask: np.ndarray) -> str:
    """SVG path of the edges between pixels inside and outside a mask.

    Args:
        mask: Boolean (rows, columns).

    Examples:
        >>> outline_path(np.array([[False, True]]))
        'M1 0h1M1 1h1M1 0v1M2 0v1'
    """
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    along = padded[1:-1, 1:] != padded[1:-1, :-1]
    return ''.join(
        f'M{x} {y}{step}'
        for edges, step in ((across, 'h1'), (along, 'v1'))
        for y, x in np.argwhere(edges)
    )


def grey(hu: np.ndarray) -> np.ndarray:
    """HU in the window in which radiologists read lungs, as uint8.

    Args:
        hu: Any shape.
    """
    return np.rint(255 * READING_WINDOW.normalize(hu)).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    """A picture as a JPEG file.

    Args:
        pixels: uint8 (rows, columns).
    """
    file = BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=JPEG_QUALITY)
    return file.getvalue()


def data_uri(content: bytes, kind: str = 'image/jpeg') -> str:
    """A file as a URI that contains it.

    Args:
        content: Content of the file.
        kind: Its media type.

    Examples:
        >>> data_uri(b'ab', 'text/plain')
        'data:text/plain;base64,YWI='
    """
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'
