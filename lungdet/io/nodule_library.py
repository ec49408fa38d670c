"""A nodule library: nodules cut out of scans, in one file.

The file is a numpy archive of two flat arrays, HU and packed masks, and the
nodules' records as JSON, ``lungdet.nodules/1``, with checksums of both.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.atomic import atomic_path
from lungdet.io.json_file import (
    DIGEST,
    digest_of,
    items,
    keyed,
    number,
    numbers,
    shape_checked,
    text,
    whole,
    with_digest,
)
from lungdet.io.npz import read_arrays

LIBRARY_FORMAT = 'lungdet.nodules/1'
REMEDY = 'Make it again with "lungdet prepare nodules".'
SITES = ('parenchyma', 'vessel', 'pleura')


@dataclass(frozen=True, eq=False)
class LibraryNodule:
    """A nodule cut out of its scan.

    Attributes:
        name: Identifier, for messages and provenance.
        patient: Who has it, text.
        series_uid: Scan that it was cut out of.
        diameter_mm: As its table states it.
        spacing: Distance of the voxels in mm, (z, y, x).
        hu: int16 (z, y, x).
        mask: bool, of the shape of ``hu``.
        site: What it touches, one of ``SITES``.
        wall_mm: From the mask to the pleura; None if none is in the crop.
        wall_direction: Unit vector (y, x) from its centre to the pleura that
            it touches; None for other sites.
        ratings: Ratings by its readers, by name.
    """

    name: str
    patient: str
    series_uid: str
    diameter_mm: float
    spacing: tuple[float, float, float]
    hu: np.ndarray
    mask: np.ndarray
    site: str
    wall_mm: float | None = None
    wall_direction: tuple[float, float] | None = None
    ratings: Mapping[str, float] = field(default_factory=dict)


def write_library(path: str | Path, nodules: Sequence[LibraryNodule]) -> None:
    """Write a library, whole or not at all.

    Args:
        path: Path of the file, usually ``.npz``; an older one is replaced.
        nodules: In the order of the file.

    Raises:
        SeriesError: There are none.
        OSError: It cannot be written, or the disk is full.
    """
    if not nodules:
        raise SeriesError(f'{path}: no nodule to write.')
    hu = np.concatenate([n.hu.ravel() for n in nodules]).astype(np.int16)
    mask = np.packbits(np.concatenate([n.mask.ravel() for n in nodules]))
    content = with_digest(
        {
            'format': LIBRARY_FORMAT,
            'checksums': [zlib.crc32(hu.data), zlib.crc32(mask.data)],
            'nodules': [_nodule_to_json(nodule) for nodule in nodules],
        }
    )
    text_bytes = json.dumps(content).encode()
    records = np.frombuffer(text_bytes, dtype=np.uint8)
    with atomic_path(path) as aside, aside.open('wb') as file:
        np.savez(file, records=records, hu=hu, mask=mask)


def read_library(path: str | Path) -> list[LibraryNodule]:
    """The nodules of a library.

    Raises:
        FileNotFoundError: No such file; the message names the command.
        SeriesError: It is not a library, or damaged, edited or of another
            version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: not a nodule library. {REMEDY}')
    try:
        stored = read_arrays(path, ('hu', 'mask', 'records'))
        content = json.loads(stored['records'].tobytes().decode())
    except SeriesError:
        raise
    except (ValueError, RecursionError) as error:
        raise SeriesError(
            f'{path}: not a nodule library, or damaged ({error}). {REMEDY}'
        ) from error
    hu, mask = stored['hu'], stored['mask']
    with shape_checked(str(path), REMEDY):
        _check_content(keyed(content), hu, mask, path)
        return _cut(items(content['nodules']), hu, mask)


def _check_content(
    content: dict[str, Any], hu: np.ndarray, mask: np.ndarray, path: Path
) -> None:
    if content.get('format') != LIBRARY_FORMAT:
        raise SeriesError(
            f'{path}: format {content.get("format")!r}, this version reads '
            f'{LIBRARY_FORMAT!r}. {REMEDY}'
        )
    sums = [zlib.crc32(np.ascontiguousarray(a).data) for a in (hu, mask)]
    edited = content.get(DIGEST) != digest_of(content)
    if edited or content['checksums'] != sums:
        raise SeriesError(
            f'{path}: its checksum differs; it was edited or damaged since '
            f'it was made. {REMEDY}'
        )


def _cut(
    records: Sequence[Any], hu: np.ndarray, packed: np.ndarray
) -> list[LibraryNodule]:
    shapes = [[whole(n) for n in items(r['shape'])] for r in records]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    mask = np.unpackbits(packed, count=int(ends[-1])).astype(bool)
    if hu.size != ends[-1]:
        raise ValueError(f'{hu.size} voxels, the records say {ends[-1]}')
    return [
        _nodule_from_json(
            keyed(record),
            hu[start:end].reshape(shape),
            mask[start:end].reshape(shape),
        )
        for record, shape, start, end in zip(
            records, shapes, ends[:-1], ends[1:]
        )
    ]


def _nodule_to_json(nodule: LibraryNodule) -> dict[str, Any]:
    values = {k: v for k, v in vars(nodule).items() if k not in ('hu', 'mask')}
    return {**values, 'shape': list(nodule.hu.shape)}


def _nodule_from_json(
    values: dict[str, Any], hu: np.ndarray, mask: np.ndarray
) -> LibraryNodule:
    wall_mm, direction = values['wall_mm'], values['wall_direction']
    z, y, x = numbers(values['spacing'], 3)
    site = text(values['site'])
    if site not in SITES:
        raise ValueError(f'{site!r} is not a site')
    to_wall = None
    if direction is not None:
        along_y, along_x = numbers(direction, 2)
        to_wall = (along_y, along_x)
    return LibraryNodule(
        name=text(values['name']),
        patient=text(values['patient']),
        series_uid=text(values['series_uid']),
        diameter_mm=number(values['diameter_mm']),
        spacing=(z, y, x),
        hu=hu,
        mask=mask,
        site=site,
        wall_mm=None if wall_mm is None else number(wall_mm),
        wall_direction=to_wall,
        ratings={
            name: number(value)
            for name, value in keyed(values['ratings']).items()
        },
    )
