"""Reference nodules of a table, with masks from LIDC's readers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, reorient
from lungdet.io.case_json import annotation_to_json
from lungdet.io.files import is_litter
from lungdet.io.lidc import read_lidc_xml
from lungdet.io.lidc_masks import MIN_READERS, LidcNodule, consensus_masks
from lungdet.prepare.fingerprint import fingerprint
from lungdet.prepare.label_image import mask_of_label
from lungdet.prepare.references import ReferenceNodule, References
from lungdet.structures import Annotation, Volume

SERIES_UID = re.compile(r'<SeriesInstanceU[iI][dD]>\s*([0-9.]+)\s*<')
MAX_SHIFT = 0.5  # pixels between a slice and the grid
HEAD_BYTES = 4000  # of an XML file, which name the series


@dataclass(frozen=True)
class OutlineReferences:
    """A table's nodules and the reader XML of their scan.

    Attributes:
        path: Reader XML.
        annotations: The table's rows.
        min_readers: Readers that must have outlined a nodule for a mask.
        consensus: ``'half'``, voxels that at least half of its readers drew,
            or ``'union'``, voxels that any of them drew.
    """

    path: Path
    annotations: tuple[Annotation, ...]
    min_readers: int = MIN_READERS
    consensus: str = 'half'

    def read(self, volume: Volume) -> References:
        """The rows, each with its mask if there is one.

        Rows without a mask and masks without a row become caveats. If the
        header of a scan names no patient, the study stands for the patient.

        Raises:
            AnnotationError: Damaged XML, or outlines of another series, or
                of slices that a tilted gantry shifted.
        """
        rows = tuple(map(ReferenceNodule, self.annotations))
        reading = read_lidc_xml(self.path)
        if reading is None:
            caveat = f'{self.path.name}: of an X-ray, no outlines'
            return References(rows, (caveat,))
        # outlines are pixels of the file's grid, so use it for a reoriented
        # scan
        file_grid = volume.source_geometry or volume.geometry
        self._check_shift(volume, file_grid)
        labels, outlined = consensus_masks(
            reading,
            file_grid,
            min_readers=self.min_readers,
            mode=self.consensus,
        )
        labels, _ = reorient(labels, file_grid)
        ids = match_nodules(
            self.annotations, outlined, labels, volume.geometry
        )
        return References(
            _with_masks(rows, ids, outlined, labels),
            self._caveats(ids, outlined),
            reading.study_uid,
        )

    def _check_shift(self, volume: Volume, file_grid: Geometry) -> None:
        """Refuse slices whose pixels are not those of the file's grid."""
        corners = [one.geometry.origin for one in volume.slices]
        if not corners:
            return
        shifts = file_grid.to_index(np.array(corners))[:, 1:]
        if np.abs(shifts).max() > MAX_SHIFT:
            raise AnnotationError(
                f'{self.path}: its outlines are in pixels of the slices, '
                'which were shifted, since the gantry was tilted. Give label '
                'images, or leave out --lidc-xml.'
            )

    def _caveats(
        self, ids: Sequence[int | None], outlined: Sequence[LidcNodule]
    ) -> tuple[str, ...]:
        caveats = [
            f'nodule {number} at {row.center_mm} has no outline of '
            f'{self.min_readers} readers and stays without mask'
            for number, (row, matched) in enumerate(
                zip(self.annotations, ids), start=1
            )
            if matched is None
        ]
        unused = {nodule.id for nodule in outlined} - set(ids)
        if unused:
            caveats.append(
                f'{len(unused)} outlined nodules of {self.min_readers} '
                'readers are not in the table and were left out'
            )
        return tuple(caveats)

    def table_rows(self) -> Sequence[Annotation]:
        """The rows."""
        return self.annotations

    def settings(self) -> dict[str, Any]:
        """The rows, the rule, and a checksum of the file."""
        return {
            'annotations': [annotation_to_json(a) for a in self.annotations],
            'xml': fingerprint(self.path, whole=True),
            'consensus': [self.min_readers, self.consensus],
        }

    def files(self) -> Sequence[Path]:
        """The reader XML."""
        return (self.path,)


def _with_masks(
    rows: Sequence[ReferenceNodule],
    ids: Sequence[int | None],
    outlined: Sequence[LidcNodule],
    labels: np.ndarray,
) -> tuple[ReferenceNodule, ...]:
    """Rows with the masks and numbers of readers of their outlines."""
    num_readers = {nodule.id: nodule.num_readers for nodule in outlined}
    regions = dict(enumerate(ndimage.find_objects(labels), start=1))
    nodules = []
    for row, number in zip(rows, ids):
        if number is None:
            nodules.append(row)
            continue
        annotation = replace(row.annotation, num_readers=num_readers[number])
        mask = None
        if region := regions.get(number):  # else another has them
            mask = mask_of_label(labels, number, region)
        nodules.append(ReferenceNodule(annotation, mask=mask))
    return tuple(nodules)


def match_nodules(
    annotations: Sequence[Annotation],
    nodules: Sequence[LidcNodule],
    labels: np.ndarray,
    geometry: Geometry,
) -> list[int | None]:
    """For each annotation the id of the matching outlined nodule, or None.

    First the mask that contains the annotation's centre, then the nearest
    centre within the radius; each mask is used once.

    Args:
        annotations: Rows of a table.
        nodules: Outlined nodules.
        labels: Their ids as an array (z, y, x).
        geometry: Its grid.
    """
    pairs = []
    last = np.array(labels.shape) - 1
    for row, annotation in enumerate(annotations):
        index = geometry.to_index(np.array([annotation.center_mm]))[0]
        nearest = np.clip(np.rint(index), 0, last).astype(int)
        under = int(labels[tuple(nearest)])
        for nodule in nodules:
            distance = math.dist(annotation.center_mm, nodule.center_mm)
            inside = nodule.id == under
            if inside or distance <= (annotation.diameter_mm or 0) / 2:
                pairs.append((not inside, distance, row, nodule.id))
    ids: list[int | None] = [None] * len(annotations)
    for _, _, row, number in sorted(pairs):
        if ids[row] is None and number not in ids:
            ids[row] = number
    return ids


def index_reader_xml(folder: Path) -> dict[str, Path]:
    """Reader XML files of a folder, at any depth, by series uid.

    Raises:
        AnnotationError: Two different files are of one series.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob('*.[xX][mM][lL]')):
        if is_litter(path) or not path.is_file():
            continue
        with open(path, 'rb') as file:
            head = file.read(HEAD_BYTES).decode('utf-8', errors='replace')
        if match := SERIES_UID.search(head):
            first = files.setdefault(match.group(1), path)
            if first.read_bytes() != path.read_bytes():
                raise AnnotationError(
                    f'{path}: series {match.group(1)} is also read in '
                    f'{first}; keep one.'
                )
    return files
