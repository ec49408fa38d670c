"""Prepared cases with inserted nodules: a test on real lungs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import ConfigError
from lungdet.geometry import UNKNOWN_DIAMETER_MM, Geometry
from lungdet.insertion.blend import scan_profiles
from lungdet.insertion.draw import (
    DrawOptions,
    donor_of,
    draw_nodule,
    draw_sham,
)
from lungdet.insertion.placement import Placement, render
from lungdet.insertion.sites import Room, Sphere
from lungdet.insertion.source import (
    PARAMETRIC,
    LibrarySource,
    NoduleSource,
    open_source,
)
from lungdet.insertion.target import target_nodule
from lungdet.io.atomic import check_writable, remove_leftovers
from lungdet.io.case_json import case_to_json
from lungdet.io.case_store import (
    CaseStore,
    rebuild_index,
    stored_settings,
    write_case,
)
from lungdet.io.json_file import digest_of
from lungdet.structures import Annotation, CaseNodule, CaseRecord

FEWEST, MOST = 8, 12  # nodules of a case
METHOD = 1  # raised where equal options give other voxels
SMALLEST_MM = 6.0  # kept free around a finding, at least


@dataclass(frozen=True)
class InsertOptions:
    """What is inserted.

    Attributes:
        draws: Cases of each scan.
        seed: Of everything that is drawn.
        part: ``(k, n)``: only nodules of the k-th of n parts of the
            library's patients, from 1; the others stay for training.
    """

    draws: int = 1
    seed: int = 0
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class InsertSummary:
    """What was done.

    Attributes:
        cases: Cases in the folder.
        written: Of them in this run.
        nodules: Inserted nodules of all cases.
        patients: Patients of the inserted nodules and of the scans.
    """

    cases: int
    written: int
    nodules: int
    patients: int

    def text(self) -> str:
        """One line."""
        return (
            f'{self.cases} cases with {self.nodules} inserted nodules '
            f'({self.written} cases written now); {self.patients} series and '
            'patients are in them, and must not be trained on'
        )


def insert_cases(
    store: str | Path,
    nodules: str | Path,
    out: str | Path,
    options: InsertOptions | None = None,
) -> InsertSummary:
    """Write cases with 8 to 12 inserted nodules each.

    A scan's real nodules become excluded findings, neither hit nor false
    positive. As many shams are inserted; the record's settings list them.
    Cases that are there already with the same settings are kept, so a run
    that was stopped goes on.

    Args:
        store: Folder of prepared cases.
        nodules: A nodule library, or ``'parametric'``.
        out: Folder of the new store, not ``store``.
        options: What is drawn.

    Raises:
        ConfigError: ``out`` is ``store``, or no nodule is of the part.
        FileNotFoundError, SeriesError: As ``CaseStore`` and ``read_library``.
        OSError: ``out`` cannot be written to.
    """
    options = options or InsertOptions()
    scans, source = CaseStore(store), open_source(nodules)
    if Path(out).resolve() == Path(store).resolve():
        raise ConfigError(
            f'{out}: is the folder of the scans; give another one, so that '
            'they stay as they are.'
        )
    if isinstance(source, LibrarySource) and options.part is not None:
        source = _part_of(source, options.part)
    digest = None
    if isinstance(source, LibrarySource):
        digest = zlib.crc32(Path(nodules).read_bytes())
    check_writable(Path(out) / 'cases', 'the cases')
    written = 0
    for record, draw in _tasks(scans, options):
        uid, settings = _settings(record, draw, options, digest)
        stored = stored_settings(out, uid) or {}
        if {key: stored.get(key) for key in settings} == settings:
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
    scans: CaseStore, options: InsertOptions
) -> Iterator[tuple[CaseRecord, int]]:
    for record in scans.records.values():
        for draw in range(options.draws):
            yield record, draw


def _part_of(source: LibrarySource, part: tuple[int, int]) -> LibrarySource:
    number, parts = part
    kept = [
        nodule
        for nodule in source.nodules
        if zlib.crc32(nodule.patient.encode()) % parts == number - 1
    ]
    if not kept:
        raise ConfigError(
            f'{source.name}: no nodule is in part {number} of {parts}; give '
            'fewer parts.'
        )
    return LibrarySource(kept, source.name)


def _settings(
    record: CaseRecord,
    draw: int,
    options: InsertOptions,
    library: int | None,
) -> tuple[str, dict[str, Any]]:
    """Uid of a case, and what its voxels depend on."""
    kind = PARAMETRIC if library is None else 'inserted'
    part = None if options.part is None else list(options.part)
    return f'{record.series_uid}-{kind}-{draw}', {
        'inserted': METHOD,
        'scan': digest_of(case_to_json(record)),
        'library': library,
        'seed': options.seed,
        'draw': draw,
        'part': part,
    }


def _room(scans: CaseStore, record: CaseRecord) -> Room:
    uid, grid = record.series_uid, record.geometry
    findings = [(n.center_mm, n.diameter_mm) for n in record.nodules]
    findings += [(a.center_mm, a.diameter_mm or 0.0) for a in record.excluded]
    centers = grid.to_index(np.array([c for c, _ in findings]).reshape(-1, 3))
    return Room(
        scans.read(uid, 'image'),
        scans.read(uid, 'lungs'),
        grid.spacing,
        occupied=[
            Sphere(center * grid.spacing, max(d, SMALLEST_MM) / 2)
            for center, (_, d) in zip(centers, findings)
        ],
    )


def _inserted(
    scans: CaseStore,
    record: CaseRecord,
    source: NoduleSource,
    uid: str,
    settings: dict[str, Any],
) -> tuple[CaseRecord, dict[str, np.ndarray]]:
    """Record and arrays of a case."""
    key = zlib.crc32(record.series_uid.encode())
    rng = np.random.default_rng([settings['seed'], key, settings['draw']])
    room, options = _room(scans, record), DrawOptions()
    count = int(rng.integers(FEWEST, MOST + 1))
    shams = [draw_sham(rng, room, options) for _ in range(count)]
    nodules = [
        draw_nodule(rng, room, source, options, record.names)
        for _ in range(count)
    ]
    grid = record.geometry
    image = room.image.astype(np.float32)
    mask = np.zeros(grid.shape, dtype=np.uint8)
    targets: list[CaseNodule] = []
    for placement in [*shams, *nodules]:
        if placement is None:
            continue
        donor = donor_of(placement, source, room.image, grid.spacing)
        profiles = scan_profiles(
            grid, record.source_geometry, placement.psf_mm
        )
        one = render(donor, placement, grid.shape, grid.spacing, profiles)
        image[one.region] = one.blended(image[one.region])
        if placement.kind == 'nodule':
            number = len(targets) + 1
            mask[one.region][one.inside] = number
            targets.append(target_nodule(placement, one, grid, grid, number))
    drawn = [placement for placement in nodules if placement is not None]
    changed = CaseRecord(
        **{
            **vars(record),
            'series_uid': uid,
            'nodules': targets,
            'excluded': [*record.excluded, *_as_excluded(record)],
            'settings': {**settings, 'shams_mm': _centers(grid, shams)},
            'checksums': {},
            'kind': PARAMETRIC if settings['library'] is None else 'inserted',
            'made_of': sorted(record.names | _donors(source, drawn)),
            'caveats': [
                *record.caveats,
                f'{len(targets)} nodules and as many shams were inserted',
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
    grid: Geometry, placements: Sequence[Placement | None]
) -> list[list[float]]:
    """World centres (x, y, z) in mm."""
    index = [p.center for p in placements if p is not None]
    return grid.to_world(np.array(index).reshape(-1, 3)).tolist()


def _as_excluded(record: CaseRecord) -> list[Annotation]:
    return [
        Annotation(n.center_mm, n.diameter_mm or UNKNOWN_DIAMETER_MM)
        for n in record.nodules
    ]


def _donors(source: NoduleSource, drawn: list[Placement]) -> set[str]:
    if not isinstance(source, LibrarySource):
        return set()
    used = [source.nodule(placement) for placement in drawn]
    return {name for n in used for name in (n.patient, n.series_uid)}
