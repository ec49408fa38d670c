"""What a change that is read without a caveat may be.

An oracle is asked whether the values that the program read from a damaged file
are those that the file now states. It answers with another reader (nibabel,
pydicom, Python's csv, XML and JSON), or by writing what was read and comparing
that with the file. ``CHECKED`` stands for formats whose checksums reveal any
change; ``forged`` and ``UNKNOWN`` answer None, where nothing can tell.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.dom import minidom

import nibabel
import numpy as np
import pydicom

from lungdet.io.image import load_volume
from lungdet.io.lidc import read_lidc_xml
from lungdet.structures import Volume
from tests.fuzz.target import Oracle

NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')
# of a result's JSON: follow from other values, or are the same in all files
DERIVED = {'id', 'label', 'diameter_mm', 'intended_use', 'format', 'digest'}


def CHECKED(path: Path) -> bool:
    """Of formats with checksums: no change is silent."""
    return False


def UNKNOWN(path: Path) -> None:
    """Any value is as good as another, and nothing else states it."""


def forged(path: Path) -> bool | None:
    """Of archives: a change is silent only if the checksums are right."""
    with zipfile.ZipFile(path) as archive:
        return False if archive.testzip() else None


def as_written(write: Callable[[Path], Any]) -> Oracle:
    """What is read, written again, is in the JSON file.

    Args:
        write: Reads the file, and returns the JSON values of what it read.
    """

    def agrees(path: Path) -> bool:
        again = json.loads(json.dumps(write(path)))
        return contained(again, json.loads(path.read_bytes()))

    return agrees


def contained(ours: Any, stated: Any) -> bool:
    """Whether values are those of a file, which may state more."""
    if isinstance(ours, Mapping):
        return isinstance(stated, Mapping) and all(
            contained(value, stated[key])
            for key, value in ours.items()
            if key in stated and key not in DERIVED
        )
    if isinstance(ours, list):
        return (
            isinstance(stated, list)
            and len(ours) == len(stated)
            and all(map(contained, ours, stated))
        )
    if isinstance(ours, bool) or isinstance(stated, bool):
        return ours is stated
    if isinstance(ours, float) and math.isnan(ours):
        return isinstance(stated, float) and math.isnan(stated)
    return ours == stated


def as_csv(
    read: Callable[[Path], Mapping[str, Sequence[Sequence[Any]]]],
    columns: Sequence[str],
) -> Oracle:
    """What Python's csv reads, by series uid.

    Args:
        read: Reads the file: series uid -> its rows' cells.
        columns: Of the cells; numbers, unless ``read`` returns text.
    """

    def agrees(path: Path) -> bool:
        rows = cells_of(path)
        header = [name.strip() for name in next(rows)]
        positions = [header.index(name) for name in columns]
        stated: dict[str, list[list[str]]] = {}
        for row in rows:
            if any(cell.strip() for cell in row):
                uid = row[header.index('seriesuid')].strip()
                cells = [row[k].strip() for k in positions]
                stated.setdefault(uid, []).append(cells)
        ours = read(path)
        return list(ours) == list(stated) and all(
            [[type(v)(c) for v, c in zip(a, b)] for a, b in zip(ours[uid], of)]
            == [list(row) for row in ours[uid]]
            and len(of) == len(ours[uid])
            for uid, of in stated.items()
        )

    return agrees


def as_lines(
    read: Callable[[Path], Sequence[str]], form: Callable[[str], str] = str
) -> Oracle:
    """The first cells of all rows, without blank ones.

    Args:
        read: Reads the file.
        form: The same for cells that mean the same.
    """

    def agrees(path: Path) -> bool:
        stated = [row[0].strip() for row in cells_of(path) if any(row)]
        stated = [cell for cell in stated if cell]
        return [*map(form, read(path))] == [*map(form, stated)]

    return agrees


def cells_of(path: Path) -> Any:
    """Rows of a csv file, plain or gzipped, as Python reads it."""
    content = path.read_bytes()
    if content.startswith(b'\x1f\x8b'):
        content = gzip.decompress(content)
    return csv.reader(io.StringIO(content.decode('utf-8-sig'), newline=''))


def as_nibabel(path: Path) -> bool:
    """Whether nibabel reads the same values at the same positions."""
    volume, other = load_volume(path), nibabel.load(path)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ other.affine
    stored = np.clip(np.rint(np.asarray(other.dataobj)), -32768, 32767)
    grid = volume.source_geometry or volume.geometry
    return bool(
        grid.size_xyz == stored.shape[:3]
        and np.allclose(affine[:3, 2::-1], grid.affine[:3, :3], atol=2e-2)
        and np.allclose(affine[:3, 3], grid.origin, atol=1e-2)
        and same_voxels(stored, volume)
    )


def same_voxels(stored: np.ndarray, volume: Volume) -> bool:
    """Whether an image holds the same values, in whatever order."""
    return bool(
        np.sort(stored.ravel()).astype(np.int16).tobytes()
        == np.sort(volume.array.ravel()).tobytes()
    )


def as_stated(path: Path) -> bool:
    """Whether a text header's numbers say what is read."""
    head = path.read_bytes()[:2000].decode('utf-8', 'replace')
    volume = load_volume(path)
    geometry = volume.source_geometry or volume.geometry
    numbers = map(float, NUMBER.findall(head))
    read = [*geometry.spacing, *np.abs(geometry.origin)]
    stated = {abs(number) for number in numbers} | {0.0}
    return all(min(abs(v - n) for n in stated) < 1e-3 for v in read)


def as_pydicom(path: Path) -> bool:
    """Whether pydicom reads the same pixels at the same positions."""
    volume = load_volume(path.parent)
    files = sorted(path.parent.glob('*.dcm'))
    planes = [plane for one in files for plane in _planes(one)]
    planes = [plane for plane in planes if plane[0] == volume.series_uid]
    heights = sorted(plane[1][2] for plane in planes)
    steps = np.diff(heights)
    grid = volume.source_geometry or volume.geometry
    return bool(
        len(planes) == grid.shape[0]
        and np.allclose(steps, grid.spacing[0], atol=0.03)
        and np.isclose(heights[0], grid.origin[2], atol=0.03)
        and all(
            np.allclose(plane[1][:2], grid.origin[:2], atol=0.6)
            and np.allclose(plane[2], grid.spacing[1:], atol=1e-3)
            for plane in planes
        )
        and same_voxels(np.stack([plane[3] for plane in planes]), volume)
    )


def _planes(path: Path) -> list[tuple[str, list[float], list[float], Any]]:
    """Series, position, spacing and HU of the slices of a file."""
    data = pydicom.dcmread(path)
    frames = data.get('PerFrameFunctionalGroupsSequence')
    pixels = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    if frames is None:
        groups = [data]
    else:
        shared = data.SharedFunctionalGroupsSequence[0]
        groups = [_merged(shared, frame) for frame in frames]
    return [
        (
            str(data.SeriesInstanceUID).strip(),
            [float(v) for v in group.ImagePositionPatient],
            [float(v) for v in group.PixelSpacing],
            np.rint(
                plane * float(group.RescaleSlope)
                + float(group.RescaleIntercept)
            ),
        )
        for group, plane in zip(groups, pixels)
    ]


def _merged(*parts: pydicom.Dataset) -> pydicom.Dataset:
    """The elements of all sequences of one item, in one data set."""
    merged = pydicom.Dataset()
    for part in parts:
        for element in part:
            merged.update(element.value[0])
    return merged


def as_minidom(path: Path) -> bool:
    """Whether minidom finds the same series and lines."""
    reading = read_lidc_xml(path)
    if reading is None:
        return True
    page = minidom.parseString(path.read_bytes())
    lines = [
        (
            float(_text(roi, 'imageZposition')),
            _text(roi, 'inclusion').upper() == 'TRUE',
            [
                [int(_text(edge, 'xCoord')), int(_text(edge, 'yCoord'))]
                for edge in roi.getElementsByTagName('edgeMap')
            ],
        )
        for roi in page.getElementsByTagName('roi')
    ]
    ours = [
        (c.z_mm, c.inclusion, c.points.tolist())
        for outline in reading.outlines
        for c in outline.contours
    ]
    # single points, and the lines of nodules that have no other, are left out
    return reading.series_uid == _text(page, 'SeriesInstanceUid') and (
        ours == lines or (reading.num_points > 0 and not ours)
    )


def _text(element: Any, tag: str) -> str:
    (one, *_) = element.getElementsByTagName(tag)
    return ''.join(node.data for node in one.childNodes).strip()


def as_python(load: Callable[[Path], Any]) -> Oracle:
    """Whether the values that a config's file assigns are in the config.

    Args:
        load: Reads the file, as JSON-like values.
    """

    def agrees(path: Path) -> bool:
        assigned: dict[str, Any] = {}
        exec(compile(path.read_text(), 'config', 'exec'), {}, assigned)
        assigned.pop('_base_', None)
        config = load(path)
        return assigned.keys() <= config.keys() and contained(assigned, config)

    return agrees
