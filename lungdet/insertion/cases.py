"""Prepared cases with inserted nodules, as a test set in real lungs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import ConfigError, counted
from lungdet.geometry import UNKNOWN_DIAMETER_MM, Geometry
from lungdet.insertion.draw import DrawOptions, draw_nodule, draw_sham
from lungdet.insertion.insert import insert
from lungdet.insertion.placement import Placement
from lungdet.insertion.sites import Room
from lungdet.insertion.source import NoduleSource, open_source
from lungdet.insertion.target import target_nodule
from lungdet.io.atomic import check_writable, remove_leftovers
from lungdet.io.case_json import case_to_json
from lungdet.io.case_store import (
    CaseStore,
    rebuild_index,
    record_files,
    stored_settings,
    write_case,
)
from lungdet.io.json_file import digest_of
from lungdet.structures import Annotation, CaseNodule, CaseRecord

FEWEST, MOST = 8, 12  # nodules per case
METHOD = 5  # increase it when the same options give different voxels


@dataclass(frozen=True)
class InsertOptions:
    """Options of ``insert_cases``.

    Attributes:
        draws: Number of cases per scan.
        seed: Seed of all random draws.
        part: ``(k, n)``: use only the nodules of the k-th of n parts of the
            library's patients, counted from 1; the others remain for training.
    """

    draws: int = 1
    seed: int = 0
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class InsertSummary:
    """Result of ``insert_cases``.

    Attributes:
        cases: Number of cases in the folder.
        written: Number of cases that this run wrote.
        nodules: Number of inserted nodules in all cases.
        patients: Number of series and patients of the scans and nodules.
    """

    cases: int
    written: int
    nodules: int
    patients: int

    def text(self) -> str:
        """One line."""
        return (
            f'{counted(self.cases, "case")} with '
            f'{counted(self.nodules, "inserted nodule")} '
            f'({counted(self.written, "case")} written now); they contain '
            f'{self.patients} series and patients, which must not be trained '
            'on'
        )


def insert_cases(
    store: str | Path,
    nodules: str | Path,
    out: str | Path,
    options: InsertOptions | None = None,
) -> InsertSummary:
    """Write cases with 8 to 12 inserted nodules each.

    The scan's real nodules become excluded findings: marks on them are neither
    hits nor false positives. As many shams are inserted, if there are free
    sites; they are listed in the record's settings. Existing cases with the
    same settings are kept, so an interrupted run can be continued, and draws
    can be added.

    Args:
        store: Folder of prepared cases.
        nodules: Path of a nodule library, or ``'parametric'``.
        out: Folder of the new store; must differ from ``store``.
        options: Options; None for the defaults.

    Raises:
        ConfigError: ``out`` is ``store`` or contains cases of another run, the
            part has no nodules, or a part of ``'parametric'`` is requested.
        FileNotFoundError, SeriesError: As in ``CaseStore`` and
            ``read_library``.
        OSError: ``out`` cannot be written to.
    """
    options = options or InsertOptions()
    scans, source = CaseStore(store), open_source(nodules)
    if Path(out).resolve() == Path(store).resolve():
        raise ConfigError(
            f'{out}: is the folder of the scans; choose another output '
            'folder, so that they are not changed.'
        )
    if options.part is not None:
        source = source.part(*options.part)
    tasks = list(_tasks(scans, source, options))
    there = _cases_there(out, {uid: settings for _, uid, settings in tasks})
    check_writable(Path(out) / 'cases', 'the cases')
    written = 0
    for record, uid, settings in tasks:
        if uid in there:
            continue
        write_case(out, *_inserted(scans, record, source, uid, settings))
        written += 1
    remove_leftovers(Path(out) / 'cases')
    records = rebuild_index(out)
    names = {name for record in records for name in record.made_of}
    return InsertSummary(
        len(records),
        written,
        sum(len(record.nodules) for record in records),
        len(names),
    )


def _tasks(
    scans: CaseStore, source: NoduleSource, options: InsertOptions
) -> Iterator[tuple[CaseRecord, str, dict[str, Any]]]:
    """Each scan with the uid of a case and the settings that determine its
    voxels."""
    part = None if options.part is None else list(options.part)
    for record in scans.records.values():
        for draw in range(options.draws):
            yield (
                record,
                f'{record.series_uid}-{source.kind}-{draw}',
                {
                    'inserted': METHOD,
                    'scan': digest_of(case_to_json(record)),
                    'library': source.digest,
                    'seed': options.seed,
                    'draw': draw,
                    'part': part,
                },
            )


def _cases_there(
    out: str | Path, wanted: dict[str, dict[str, Any]]
) -> set[str]:
    """Uids of the cases that an interrupted run has written.

    Raises:
        ConfigError: The folder contains cases of another run.
    """
    stored = {f.stem: stored_settings(out, f.stem) for f in record_files(out)}
    whole = {
        uid
        for uid, settings in stored.items()
        if settings and wanted.get(uid, settings).items() <= settings.items()
    }
    others = [
        uid
        for uid, settings in stored.items()
        if uid not in wanted or (settings and uid not in whole)
    ]
    if others:
        raise ConfigError(
            f'{out}: contains {len(others)} cases of other scans, nodules or '
            f'options, such as {others[0]}, which would be lost or mixed with '
            'the new ones. Choose another folder, or delete this one.'
        )
    return whole


def _inserted(
    scans: CaseStore,
    record: CaseRecord,
    source: NoduleSource,
    uid: str,
    settings: dict[str, Any],
) -> tuple[CaseRecord, dict[str, np.ndarray]]:
    """Record and arrays of a case with inserted nodules."""
    key = zlib.crc32(record.series_uid.encode())
    rng = np.random.default_rng([settings['seed'], key, settings['draw']])
    room, options = Room.of_case(scans, record), DrawOptions()
    count = int(rng.integers(FEWEST, MOST + 1))
    drawn = [draw_sham(rng, room, options) for _ in range(count)]
    drawn += [
        draw_nodule(rng, room, source, options, record.names)
        for _ in range(count)
    ]
    placements = [placement for placement in drawn if placement is not None]
    grid = record.geometry
    image, shapes = insert(
        room.image, placements, source, grid, record.source_geometry
    )
    mask = np.zeros(grid.shape, dtype=np.uint8)
    targets: list[CaseNodule] = []
    for placement, shape in zip(placements, shapes):
        if placement.kind == 'nodule':
            number = len(targets) + 1
            mask[shape.region][shape.inside] = number
            targets.append(target_nodule(placement, shape, grid, grid, number))
    shams = [one for one in placements if one.kind == 'sham']
    changed = CaseRecord(
        **{
            **vars(record),
            'series_uid': uid,
            'nodules': targets,
            'excluded': [*record.excluded, *_as_excluded(record)],
            'settings': {**settings, 'shams_mm': _centers(grid, shams)},
            'checksums': {},
            'kind': source.kind,
            'made_of': sorted(record.names | source.names_of(placements)),
            'caveats': [
                *record.caveats,
                f'{len(targets)} nodules and {len(shams)} shams were inserted',
            ],
        }
    )
    arrays = {
        'image': np.rint(image).astype(np.int16),
        'lungs': room.lungs,
        'mask': mask,
    }
    return changed, arrays


def _centers(
    grid: Geometry, placements: Sequence[Placement]
) -> list[list[float]]:
    """World centres (x, y, z) in mm."""
    index = [placement.center for placement in placements]
    return grid.to_world(np.array(index).reshape(-1, 3)).tolist()


def _as_excluded(record: CaseRecord) -> list[Annotation]:
    return [
        Annotation(n.center_mm, n.diameter_mm or UNKNOWN_DIAMETER_MM)
        for n in record.nodules
    ]
