"""Prepared cases on disk: compressed arrays, one JSON each, one index.

``OUT/cases/<uid>.json`` is written last and atomically, so a case without it
does not exist. ``OUT/index.json`` is rebuilt from the per-case files. A run
that changes cases deletes it first, so a folder without it is incomplete.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.atomic import atomic_paths, write_text
from lungdet.io.case_arrays import (
    check_array,
    open_array,
    packed,
    read_part,
)
from lungdet.io.case_json import case_from_json, case_to_json
from lungdet.io.json_file import (
    DIGEST,
    digest_of,
    items,
    keyed,
    read_object,
    shape_checked,
    with_digest,
)
from lungdet.structures import CaseRecord

INDEX, INDEX_FORMAT = 'index.json', 'lungdet.index/1'
MAX_OPEN = 32  # arrays kept open per process
DTYPES = {'image': np.int16, 'lungs': np.uint8, 'mask': np.uint8}
REMEDY = 'Prepare the scan again; delete the file if that scan is gone.'
SAFE_UID = re.compile(r'[A-Za-z0-9_][A-Za-z0-9._-]*')  # it names files


def write_case(
    root: str | Path, record: CaseRecord, arrays: dict[str, np.ndarray]
) -> CaseRecord:
    """Write a case's arrays and its record.

    An older case of the series stays until all files of the new one are
    written aside; then it is deleted, and the index with it. A run that is
    killed here leaves no record beside arrays that it does not describe, and a
    full disk leaves the older case.

    Args:
        root: Folder of the store.
        record: Record of the case; its ``checksums`` are ignored.
        arrays: ``image`` int16, ``lungs`` uint8 and, where there is one,
            ``mask`` uint8, each of the record's shape (z, y, x).

    Returns:
        The record with the checksums of the arrays, as it was written.

    Raises:
        SeriesError: A uid that cannot name a file, or an array of another
            name, type or shape than the record's.
        OSError: The folder cannot be written to, or the disk is full.
    """
    uid = record.series_uid
    _check_case(record, arrays)
    arrays = {n: np.ascontiguousarray(a) for n, a in arrays.items()}
    checksums = {name: zlib.crc32(a.data) for name, a in arrays.items()}
    record = replace(record, checksums=checksums)

    def remove_older() -> None:
        delete_index(root)
        delete_record(root, uid)
        for name in DTYPES.keys() - arrays.keys():
            array_file(root, uid, name).unlink(missing_ok=True)

    files = [array_file(root, uid, name) for name in arrays]
    with atomic_paths(
        [*files, record_file(root, uid)], before=remove_older
    ) as asides:
        for array, aside in zip(arrays.values(), asides):
            aside.write_bytes(packed(array))
        content = json.dumps(with_digest(case_to_json(record)), indent=1)
        asides[-1].write_bytes(content.encode())
    return record


def record_file(root: str | Path, uid: str) -> Path:
    """The JSON file of a case."""
    return Path(root) / 'cases' / f'{uid}.json'


def array_file(root: str | Path, uid: str, name: str) -> Path:
    """The file of one array of a case."""
    return Path(root) / 'cases' / f'{uid}.{name}.b2nd'


def record_files(root: str | Path) -> list[Path]:
    """The JSON files of all cases; half-written ones are skipped."""
    return sorted((Path(root) / 'cases').glob('[!.]*.json'))


def delete_record(root: str | Path, uid: str) -> None:
    """Delete a case; without its record it does not exist.

    A uid that cannot name a file has no case, and nothing is deleted for it.
    """
    if SAFE_UID.fullmatch(uid):
        record_file(root, uid).unlink(missing_ok=True)


def delete_index(root: str | Path) -> None:
    """Mark the store as changing, until ``rebuild_index``."""
    (Path(root) / INDEX).unlink(missing_ok=True)


def stored_settings(root: str | Path, uid: str) -> dict[str, Any] | None:
    """How a case was prepared; None if it is missing or incomplete.

    A case that an earlier version wrote without the checksum of its record
    counts as incomplete, since edits could not be noticed.
    """
    if not SAFE_UID.fullmatch(uid):
        return None
    path = record_file(root, uid)
    try:
        values = read_object(path, REMEDY)
        record = _record_from(values, path)
    except (SeriesError, OSError):
        return None
    there = all(
        array_file(root, uid, name).is_file() for name in record.checksums
    )
    whole = there and DIGEST in values and record.series_uid == uid
    return record.settings if whole else None


def check_uid(uid: str) -> None:
    """Refuse a series uid that cannot name files.

    Raises:
        SeriesError: It has characters that a file name should not have.
    """
    if not SAFE_UID.fullmatch(uid):
        raise SeriesError(
            f'series uid {uid!r}: it names files, so only letters, digits, '
            '".", "_" and "-" are taken, and no "." in front. Rename the scan.'
        )


def _check_case(record: CaseRecord, arrays: dict[str, np.ndarray]) -> None:
    uid = record.series_uid
    check_uid(uid)
    for name, array in arrays.items():
        shape = record.geometry.shape
        if name not in DTYPES:
            raise SeriesError(
                f'case {uid}: no array is called {name!r}; a case holds '
                f'{sorted(DTYPES)}.'
            )
        if array.dtype != DTYPES[name] or array.shape != shape:
            raise SeriesError(
                f'case {uid}: array {name!r} is {array.dtype} of shape '
                f'{array.shape}; the record needs {DTYPES[name].__name__} of '
                f'shape {shape}.'
            )


def read_record(path: Path) -> CaseRecord:
    """The record of one case.

    Args:
        path: As returned by ``record_file``.

    Raises:
        SeriesError: It is not JSON, of another shape or version of the
            format, or was edited; the message names it.
        OSError: It cannot be read.
    """
    return _record_from(read_object(path, REMEDY), path)


def _record_from(values: dict[str, Any], path: Path) -> CaseRecord:
    """A record and what its file must hold besides its shape."""
    uid = values.get('series_uid')
    if values.get(DIGEST, digest := digest_of(values)) != digest:
        raise SeriesError(
            f'{path}: case {uid} was edited after it was prepared, so it may '
            f'not describe its arrays any more. {REMEDY}'
        )
    try:
        record = case_from_json(values)
        check_uid(record.series_uid)
    except SeriesError as error:
        raise SeriesError(f'{path}: {error}') from error
    if 'image' not in record.checksums or record.checksums.keys() - DTYPES:
        raise SeriesError(
            f'{path}: case {uid} lists the arrays '
            f'{sorted(record.checksums)}, which are not those of a case. '
            f'{REMEDY}'
        )
    return record


def read_records(root: str | Path) -> list[CaseRecord]:
    """The records of all cases; half-written files are skipped.

    Raises:
        SeriesError: As ``read_record``.
    """
    return [read_record(path) for path in record_files(root)]


def write_index(root: str | Path, records: Sequence[CaseRecord]) -> None:
    """Write ``index.json``, which makes a folder of cases a store.

    Raises:
        OSError: It cannot be written.
    """
    cases = [with_digest(case_to_json(record)) for record in records]
    index = {'format': INDEX_FORMAT, 'cases': cases}
    write_text(Path(root) / INDEX, json.dumps(index))


def rebuild_index(root: str | Path) -> list[CaseRecord]:
    """Collect the records of all cases into ``index.json`` and return them.

    Raises:
        SeriesError: As ``read_record``.
        OSError: It cannot be written.
    """
    records = read_records(root)
    write_index(root, records)
    return records


def read_index(root: str | Path) -> dict[str, CaseRecord]:
    """The cases of a store by series uid, in the index's order.

    Raises:
        FileNotFoundError: No ``index.json``; the message names the command.
        SeriesError: Written by another version of the format, damaged or
            edited.
    """
    path = Path(root) / INDEX
    if not path.is_file():
        why = 'nothing is prepared in this folder'
        if any((Path(root) / 'cases').glob('[!.]*')):
            why = 'preparing stopped before its end and left half of it'
        raise FileNotFoundError(
            f'{path}: not there, so {why}. Run "lungdet prepare luna16 '
            'SCANS OUT" and give OUT.'
        )
    remedy = 'Prepare the scans again; what is done is not repeated.'
    index = read_object(path, remedy)
    if index.get('format') != INDEX_FORMAT:
        raise SeriesError(
            f'{path}: format {index.get("format")!r}, this version reads '
            f'{INDEX_FORMAT!r}; prepare the scans again.'
        )
    with shape_checked(str(path), remedy):
        cases = [keyed(case) for case in items(index['cases'])]
    records = [_record_from(case, path) for case in cases]
    by_uid = {record.series_uid: record for record in records}
    if len(by_uid) < len(records):
        raise SeriesError(f'{path}: lists a series twice. {remedy}')
    return by_uid


class CaseStore:
    """Read access to a prepared folder.

    Arrays are opened at first use and at most 32 stay open; open files are not
    pickled, so a store can be sent to workers.

    Args:
        root: Folder with ``index.json``.

    Attributes:
        records: Case records by series uid, in the index's order.

    Raises:
        FileNotFoundError: No ``index.json``; the message names the command.
        SeriesError: Written by another version of the format.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.records = read_index(root)
        self._open: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._checked: set[tuple[str, str]] = set()

    def __getstate__(self) -> dict:
        return {**vars(self), '_open': OrderedDict()}

    @property
    def num_open(self) -> int:
        """Number of open arrays."""
        return len(self._open)

    def has(self, uid: str, name: str) -> bool:
        """Whether a case has the array ``name``."""
        return name in self.records[uid].checksums

    def read(
        self,
        uid: str,
        name: str,
        region: tuple[slice, slice, slice] | None = None,
    ) -> np.ndarray:
        """Read an array, or only the chunks a region touches.

        At its first use in a process the whole array is compared with its
        checksum: damage in the middle of a file decodes to other values.

        Args:
            uid: Series uid.
            name: ``'image'``, ``'mask'`` or ``'lungs'``.
            region: Slices along (z, y, x), None for all.

        Raises:
            SeriesError: The file is missing or damaged, or its shape is not
                the record's.
        """
        array = self._array(uid, name)
        return read_part(array, ... if region is None else region)

    def verify(self, uid: str) -> None:
        """Compare a case with its record, every array with its checksum.

        Raises:
            SeriesError: One differs, or the record lacks an array.
        """
        record = self.records[uid]
        path = record_file(self.root, uid)
        if case_to_json(read_record(path)) != case_to_json(record):
            raise SeriesError(
                f'{path}: differs from {self.root / INDEX}; prepare the scans '
                'again, what is done is not repeated.'
            )
        for name in DTYPES:
            file = array_file(self.root, uid, name)
            if name in record.checksums:
                self._open.pop((uid, name), None)
                self._checked.discard((uid, name))
                self._array(uid, name)
            elif file.exists():
                raise SeriesError(
                    f'{file}: the record of the case does not list it. '
                    'Delete it and prepare the scan again.'
                )

    def _array(self, uid: str, name: str) -> Any:
        """An open array that was compared with its checksum."""
        key = (uid, name)
        if key not in self._open:
            record, path = self.records[uid], array_file(self.root, uid, name)
            array = open_array(path, record.geometry.shape, DTYPES[name])
            if key not in self._checked:
                check_array(array, record.checksums[name], path)
                self._checked.add(key)
            self._open[key] = array
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]
