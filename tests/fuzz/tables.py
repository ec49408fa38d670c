"""Intact tables, lists and nodule libraries for the fuzzer."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lungdet.io import luna16
from lungdet.io.nodule_library import (
    LibraryNodule,
    read_library,
    write_library,
)
from lungdet.io.scan_manifest import read_scan_manifest
from lungdet.prepare.folder import read_references
from lungdet.prepare.nodules import nodules_of_table
from lungdet.prepare.world_boxes import BoxReferences
from tests.fuzz.target import Reading, fingerprint
from tests.io.nodules import ball_nodule
from tests.prepare.test_nodules import write_table

NODULES = """seriesuid,coordX,coordY,coordZ,diameter_mm
1.2,1.5,-2.25,100,6.5
1.2,-40,30,90.125,12
1.3,5,6,7,4.25
"""
MARKS = NODULES.replace('diameter_mm', 'probability').replace('12\n', '.5\n')
MARKS = MARKS.replace('6.5', '0.9').replace('4.25', '0.125')
CANDIDATES = MARKS.replace('probability', 'class')
BOXES = 'seriesuid,x1,y1,z1,x2,y2,z2\n1.2,4,6,8,10,13,16\n1.3,1,2,3,5,6,7\n'
GROUPS = 'seriesuid,vendor\n1.2,GE\n1.3,"Siemens, B45f"\n1.4,GE\n'
SCANS = """path,seriesuid,lung_mask
a b.nii.gz,1.2,
dicom/one,1.3,masks/1.3.mhd
http://host/dicom-web/studies/1.4,,
"""
CENTER = ('coordX', 'coordY', 'coordZ')
CORNERS = ('x1', 'y1', 'z1', 'x2', 'y2', 'z2')
Cells = dict[str, list[list[Any]]]


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    """A maker of one text file."""

    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def packed_file(name: str, text: str) -> Callable[[Path], Path]:
    """A maker of one gzip file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0))
        return folder / name

    return make


def reading(read: Callable[[Path], Any]) -> Callable[[Path], Reading]:
    """A reader whose values have no caveats."""
    return lambda path: (fingerprint(read(path)), ())


def annotations(path: Path) -> Cells:
    table = luna16.read_annotations(path)
    return {
        uid: [[*row.center_mm, row.diameter_mm] for row in rows]
        for uid, rows in table.items()
    }


def excluded_centers(path: Path) -> Cells:
    table = luna16.read_excluded(path)
    return {
        uid: [[*row.center_mm] for row in rows] for uid, rows in table.items()
    }


def marks(path: Path) -> Cells:
    return {
        uid: [[*center.tolist(), float(score)] for center, score in zip(*both)]
        for uid, both in luna16.read_marks(path).items()
    }


def candidates(path: Path) -> Cells:
    return {
        uid: centers.tolist()
        for uid, centers in luna16.read_candidates(path).items()
    }


def boxes(path: Path) -> Cells:
    """Corners; a table without their columns is read as one of centres."""
    return {
        uid: [[*box] for box in source.boxes]
        for uid, source in read_references(path).items()
        if isinstance(source, BoxReferences)
    }


def groups(path: Path) -> Cells:
    return {
        uid: [[cell] for cell in cells]
        for uid, cells in luna16.read_column(path, 'vendor').items()
    }


def series_list(path: Path) -> list[str]:
    return luna16.read_seriesuids(path)


def manifest(path: Path) -> list[Any]:
    """Entries whose paths are as in the list, without its folder."""
    prefix = f'{path.parent}/'
    return [
        (
            entry.location.removeprefix(prefix),
            entry.series_uid,
            entry.lung_mask and str(entry.lung_mask).removeprefix(prefix),
        )
        for entry in read_scan_manifest(path)
    ]


def manifest_cells(path: Path) -> list[str]:
    """The first cells of a list, its header included."""
    return ['path', *(entry[0] for entry in manifest(path))]


def library(folder: Path) -> Path:
    write_library(folder / 'nodules.npz', [ball_nodule('a'), ball_nodule('b')])
    return folder / 'nodules.npz'


def crops(folder: Path) -> Path:
    return write_table(folder / 'voi.npz')


def read_nodules(path: Path) -> list[Any]:
    return list(map(_plain, read_library(path)))


def read_crops(path: Path) -> list[Any]:
    return list(map(_plain, nodules_of_table(path)))


def _plain(n: LibraryNodule) -> tuple[Any, ...]:
    voxels = fingerprint(n.hu, n.mask)
    return n.name, n.patient, n.spacing, n.site, dict(n.ratings), voxels
