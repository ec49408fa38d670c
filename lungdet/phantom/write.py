"""Phantoms as a LUNA16 download: scans, tables, lung masks, reader XML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lungdet.errors import ConfigError
from lungdet.io.atomic import check_writable, write_text
from lungdet.io.image import write_image
from lungdet.io.luna16 import ANNOTATIONS, EXCLUDED, SCAN_LIST
from lungdet.io.metaimage import data_file
from lungdet.io.processes import processes
from lungdet.phantom.phantom import make_phantom
from lungdet.phantom.reader_xml import reader_xml
from lungdet.phantom.written import (
    WrittenPhantom,
    note_written,
    written_before,
)
from lungdet.structures import Annotation

UID_ROOT = '1.2.826.0.1.3680043.10.9999'
SUBSETS = 10
HEADER = 'seriesuid,coordX,coordY,coordZ,diameter_mm'


def write_luna16_phantoms(
    out: str | Path,
    *,
    scans: int,
    seed: int = 0,
    size: str = 'full',
    jobs: int = 1,
    progress: bool = True,
) -> list[str]:
    """Write phantoms in LUNA16's layout; scan i is in subset i modulo 10.

    A phantom that is complete and was written by this code is not rendered
    again; tables of an earlier call are removed, and written at the end.

    Args:
        out: Folder of the download.
        scans: How many.
        seed: Scan i is drawn from (seed, i).
        size: As ``make_phantom``.
        jobs: Processes.
        progress: Show a bar.

    Returns:
        Series uids.

    Raises:
        ConfigError: ``out`` holds other scans, or an unknown size.
    """
    out = check_writable(out, 'the phantoms')
    uids = [phantom_uid(seed, number) for number in range(scans)]
    _check_free(out, uids)
    for name in (
        ANNOTATIONS,
        EXCLUDED,
        SCAN_LIST,
    ):  # those of other phantoms, if this call is stopped
        (out / name).unlink(missing_ok=True)
    write = partial(write_phantom, out=out, seed=seed, size=size)
    with ExitStack() as stack:
        run = stack.enter_context(processes(jobs)).map if jobs > 1 else map
        written = list(
            tqdm(
                run(write, range(scans)),
                total=scans,
                desc='phantoms',
                disable=not progress,
            )
        )
    _write_table(
        out / ANNOTATIONS,
        [(one.uid, one.annotations) for one in written],
    )
    _write_table(
        out / EXCLUDED,
        [(one.uid, one.excluded) for one in written],
    )
    write_text(out / SCAN_LIST, '\n'.join(uids) + '\n')
    return uids


def phantom_uid(seed: int, number: int) -> str:
    """Series uid of the scan ``number`` drawn from ``seed``."""
    return f'{UID_ROOT}.{seed}.{number}'


def _check_free(out: Path, uids: Collection[str]) -> None:
    """Refuse a folder with other scans, which the tables would not list."""
    others = sorted(
        path for path in out.rglob('[!.]*.mhd') if path.stem not in uids
    )
    if others:
        raise ConfigError(
            f'{out}: holds {len(others)} scans that this call does not '
            f'write, such as {others[0].relative_to(out)}; the new tables '
            'would not list them. Remove them, or choose another folder.'
        )


def write_phantom(
    number: int, out: Path, seed: int, size: str
) -> WrittenPhantom:
    """Write one phantom's scan, lung mask and reader XML, if need be.

    Args:
        number: Number of the scan.
        out: Folder of the download.
        seed: Seed of the download.
        size: As ``make_phantom``.
    """
    uid = phantom_uid(seed, number)
    settings = {'seed': seed, 'number': number, 'size': size}
    if (there := written_before(out, uid, settings)) is not None:
        return there
    phantom = make_phantom([seed, number], size=size, series_uid=uid)
    volume = phantom.volume
    scan = out / f'subset{number % SUBSETS}' / f'{uid}.mhd'
    write_image(scan, volume.array, volume.geometry)
    lungs = out / 'seg-lungs-LUNA16' / f'{uid}.mhd'
    write_image(lungs, phantom.lungs, volume.geometry)
    xml = out / 'xml' / f'{uid}.xml'
    write_text(xml, reader_xml(phantom))
    written = WrittenPhantom(uid, phantom.annotations, phantom.excluded)
    images = [one for path in (scan, lungs) for one in (path, data_file(path))]
    note_written(out, written, [*images, xml], settings)
    return written


def _write_table(
    path: Path, scans: Sequence[tuple[str, Sequence[Annotation]]]
) -> None:
    """Centres and diameters as in LUNA16's tables; -1 is unknown."""
    lines = [HEADER]
    for uid, rows in scans:
        for row in rows:
            x, y, z = row.center_mm
            diameter = -1 if row.diameter_mm is None else row.diameter_mm
            lines.append(f'{uid},{x},{y},{z},{diameter}')
    write_text(path, '\n'.join(lines) + '\n')
