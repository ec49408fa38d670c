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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.case_json import case_from_json, case_to_json
from lungdet.structures import CaseRecord

INDEX, INDEX_FORMAT = 'index.json', 'lungdet.index/1'
CHUNK, BLOCK = 64, 32  # voxels per side; measured fastest for 128^3 crops
MAX_OPEN = 32  # arrays kept open per process
DTYPES = {'image': np.int16, 'lungs': np.uint8, 'mask': np.uint8}
SAFE_UID = re.compile(r'[A-Za-z0-9_][A-Za-z0-9._-]*')  # it names files


def write_case(
    root: str | Path, record: CaseRecord, arrays: dict[str, np.ndarray]
) -> CaseRecord:
    """Write a case's arrays, then its record.

    An older record of the series is deleted first, so a run that is killed
    here leaves no record that does not match its arrays.

    Args:
        root: Folder of the store.
        record: Of the case; its ``checksums`` are ignored.
        arrays: ``image`` int16, ``lungs`` uint8, maybe ``mask`` uint8, each
            of the record's shape (z, y, x).

    Returns:
        The record with the checksums of the arrays, as it was written.

    Raises:
        SeriesError: A uid that cannot name a file, or an array of another
            name, type or shape than the record's.
    """
    uid = record.series_uid
    _check_case(record, arrays)
    delete_record(root, uid)
    for name in DTYPES.keys() - arrays.keys():
        array_file(root, uid, name).unlink(missing_ok=True)
    checksums = {}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        checksums[name] = zlib.crc32(array.data)
        _write_array(array_file(root, uid, name), array)
    record = replace(record, checksums=checksums)
    text = json.dumps(case_to_json(record), indent=1)
    write_text(record_file(root, uid), text)
    return record


def _write_array(path: Path, array: np.ndarray) -> None:
    import blosc2

    with atomic_path(path) as aside:
        blosc2.asarray(
            array,
            urlpath=str(aside),
            mode='w',
            chunks=tuple(min(CHUNK, n) for n in array.shape),
            blocks=tuple(min(BLOCK, n) for n in array.shape),
            dparams=blosc2.DParams(nthreads=1),  # stored too
            cparams=blosc2.CParams(
                codec=blosc2.Codec.LZ4HC,
                clevel=5,
                filters=[blosc2.Filter.SHUFFLE],
                nthreads=1,
            ),
        )


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
    """How a case was prepared; None if it is missing or incomplete."""
    try:
        record = read_record(record_file(root, uid))
    except (SeriesError, OSError):
        return None
    whole = all(
        array_file(root, uid, name).is_file() for name in record.checksums
    )
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
        path: Of ``record_file``.

    Raises:
        SeriesError: It is not JSON, or of another version of the format; the
            message names it.
        OSError: It cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise SeriesError(
            f'{path}: not JSON ({error}). Delete it and prepare the scan '
            'again.'
        ) from error
    return case_from_json(values)


def rebuild_index(root: str | Path) -> list[CaseRecord]:
    """Collect the records of all cases into ``index.json`` and return them.

    Half-written files of a killed run are skipped.

    Raises:
        SeriesError: As ``read_record``.
    """
    records = [read_record(path) for path in record_files(root)]
    cases = [case_to_json(record) for record in records]
    index = {'format': INDEX_FORMAT, 'cases': cases}
    write_text(Path(root) / INDEX, json.dumps(index))
    return records


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
        path = self.root / INDEX
        if not path.is_file():
            why = 'nothing is prepared in this folder'
            if any((self.root / 'cases').glob('[!.]*')):
                why = 'preparing stopped before its end and left half of it'
            raise FileNotFoundError(
                f'{path}: not there, so {why}. Run "lungdet prepare luna16 '
                'SCANS OUT" and give OUT.'
            )
        index = json.loads(path.read_text(encoding='utf-8'))
        if index.get('format') != INDEX_FORMAT:
            raise SeriesError(
                f'{path}: format {index.get("format")!r}, this version reads '
                f'{INDEX_FORMAT!r}; prepare the scans again.'
            )
        self.records = {
            case['series_uid']: case_from_json(case) for case in index['cases']
        }
        self._open: OrderedDict[tuple[str, str], Any] = OrderedDict()

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

        Args:
            uid: Series uid.
            name: ``'image'``, ``'mask'`` or ``'lungs'``.
            region: Slices along (z, y, x), None for all.

        Raises:
            SeriesError: The file is missing or damaged, or its shape is not
                the record's.
        """
        array = self._array(uid, name)
        try:
            return array[region if region is not None else ...]
        except RuntimeError as error:
            raise SeriesError(
                f'{array_file(self.root, uid, name)}: cannot be read '
                f'({error}); the file is damaged. Delete the case and prepare '
                'it again.'
            ) from error

    def verify(self, uid: str) -> None:
        """Compare every array of a case with its checksum.

        Raises:
            SeriesError: One differs.
        """
        for name, stated in self.records[uid].checksums.items():
            array = np.ascontiguousarray(self.read(uid, name))
            checksum = zlib.crc32(array.data)
            if checksum != stated:
                raise SeriesError(
                    f'{array_file(self.root, uid, name)}: checksum {checksum} '
                    f'is not {stated}; the file changed since it was '
                    'prepared. Delete the case and prepare it again.'
                )

    def _array(self, uid: str, name: str) -> Any:
        import blosc2

        key = (uid, name)
        if key not in self._open:
            path = array_file(self.root, uid, name)
            try:
                array = blosc2.open(
                    str(path),
                    mode='r',
                    dparams=blosc2.DParams(nthreads=1),
                )
            except (FileNotFoundError, RuntimeError) as error:
                raise SeriesError(
                    f'{path}: missing or damaged ({error}). Delete the '
                    'case and prepare it again.'
                ) from error
            shape = self.records[uid].geometry.shape
            if array.shape != shape:
                raise SeriesError(
                    f'{path}: of shape {array.shape}, the index says {shape}; '
                    'the case was written after the index. Prepare the scans '
                    'again.'
                )
            self._open[key] = array
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]
