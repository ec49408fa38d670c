"""Phantoms as a LUNA16 download: scans, tables, lung masks, reader XML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.atomic import write_text
from lungdet.io.image import write_image
from lungdet.io.processes import processes
from lungdet.phantom.chest import add_noise, make_chest
from lungdet.phantom.nodules import (
    Nodule,
    add_look_alikes,
    add_nodules,
)
from lungdet.structures import Annotation, Volume

UID_ROOT = '1.2.826.0.1.3680043.10.9999'
SIZES = ('small', 'full')
SUBSETS = 10


@dataclass
class Phantom:
    """One synthetic scan with everything known about it.

    Attributes:
        volume: The scan.
        annotations: Its nodules, world mm.
        excluded: Findings for the exclusion list, world mm.
        lungs: uint8 (z, y, x), 3 right, 4 left lung, 5 windpipe.
        masks: uint8 (z, y, x), nodule numbers from 1.
        nodules: How each was drawn.
        noise: Standard deviation in soft tissue, HU.
    """

    volume: Volume
    annotations: list[Annotation]
    excluded: list[Annotation]
    lungs: np.ndarray
    masks: np.ndarray
    nodules: list[Nodule] = field(default_factory=list)
    noise: float = 0.0


def make_phantom(
    seed: int | Sequence[int],
    *,
    size: str = 'full',
    series_uid: str = '',
    num_nodules: int | None = None,
) -> Phantom:
    """Draw one phantom; the same seed gives the same voxels.

    Args:
        seed: Of all draws.
        size: ``'full'``, a grown chest, or ``'small'``, a quarter of it.
        series_uid: Its name.
        num_nodules: How many; None draws LUNA16's numbers per scan.

    Raises:
        ConfigError: Unknown size.
    """
    if size not in SIZES:
        raise ConfigError(f'size: {size!r}; choose one of {SIZES}.')
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    chest = make_chest(rng, size)
    nodules, masks = add_nodules(rng, chest, num_nodules)
    others = add_look_alikes(rng, chest, nodules)
    geometry = chest.body.geometry

    def world(point: np.ndarray) -> tuple[float, float, float]:
        x, y, z = (float(v) for v in chest.to_world(point))
        return round(x, 4), round(y, 4), round(z, 4)

    annotations = [
        Annotation(world(n.center), round(n.diameter, 4), 4) for n in nodules
    ]
    # as in LUNA16 the list also holds marks of the nodules themselves
    excluded = [
        Annotation(a.center_mm, round(a.diameter_mm * 0.9, 4))
        for a in annotations
        if a.diameter_mm
    ]
    listed = [point for point in others if rng.random() < 0.4]
    excluded += [Annotation(world(point), None) for point in listed]
    volume = Volume(add_noise(rng, chest), geometry, series_uid)
    return Phantom(
        volume,
        annotations,
        excluded,
        chest.labels,
        masks,
        nodules,
        chest.body.noise,
    )


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

    Each file is replaced at once, by an equal one if it was there; the tables
    are written at the end.

    Returns:
        Series uids.

    Raises:
        ConfigError: ``out`` holds other scans, or an unknown size.
    """
    out = Path(out)
    _check_free(out, {_uid(seed, number) for number in range(scans)})
    tasks = [(out, seed, number, size) for number in range(scans)]
    if jobs > 1:
        with processes(jobs) as pool:
            rows = list(
                tqdm(
                    pool.map(_write_one, tasks),
                    total=scans,
                    desc='phantoms',
                    disable=not progress,
                )
            )
    else:
        rows = [
            _write_one(task)
            for task in tqdm(tasks, desc='phantoms', disable=not progress)
        ]
    head = 'seriesuid,coordX,coordY,coordZ,diameter_mm'
    uids = [uid for uid, _, _ in rows]
    write_text(
        out / 'annotations.csv',
        '\n'.join([head, *(r for _, a, _ in rows for r in a)]) + '\n',
    )
    write_text(
        out / 'annotations_excluded.csv',
        '\n'.join([head, *(r for _, _, e in rows for r in e)]) + '\n',
    )
    write_text(out / 'seriesuids.csv', '\n'.join(uids) + '\n')
    return uids


def _check_free(out: Path, uids: Collection[str]) -> None:
    """Scans that the tables will not list would pass for healthy ones."""
    others = sorted(
        path for path in out.rglob('[!.]*.mhd') if path.stem not in uids
    )
    if others:
        raise ConfigError(
            f'{out}: holds {len(others)} scans that this call does not '
            f'write, such as {others[0].relative_to(out)}; the new tables '
            'would not list them. Remove them, or choose another folder.'
        )


def _uid(seed: int, number: int) -> str:
    return f'{UID_ROOT}.{seed}.{number}'


def _write_one(
    task: tuple[Path, int, int, str],
) -> tuple[str, list[str], list[str]]:
    out, seed, number, size = task
    uid = _uid(seed, number)
    phantom = make_phantom([seed, number], size=size, series_uid=uid)
    geometry = phantom.volume.geometry
    write_image(
        out / f'subset{number % SUBSETS}' / f'{uid}.mhd',
        phantom.volume.array,
        geometry,
    )
    write_image(
        out / 'seg-lungs-LUNA16' / f'{uid}.mhd', phantom.lungs, geometry
    )
    write_text(out / 'xml' / f'{uid}.xml', reader_xml(phantom))
    return uid, _rows(uid, phantom.annotations), _rows(uid, phantom.excluded)


def _rows(uid: str, findings: list[Annotation]) -> list[str]:
    rows = []
    for found in findings:
        x, y, z = found.center_mm
        size = -1 if found.diameter_mm is None else found.diameter_mm
        rows.append(f'{uid},{x},{y},{z},{size}')
    return rows


def reader_xml(phantom: Phantom) -> str:
    """Four readers' outlines of every nodule, as LIDC's XML has them."""
    uid = phantom.volume.series_uid
    marks = []
    for number, nodule in enumerate(phantom.nodules, start=1):
        rois = _outlines(phantom.masks == number, phantom.volume.geometry)
        scores = {
            'subtlety': nodule.subtlety,
            'spiculation': 4 if nodule.spiculated else 1,
            'lobulation': 4 if nodule.lobulated else 1,
            'texture': {'solid': 5, 'part solid': 3}.get(nodule.texture, 1),
        }
        scores_xml = ''.join(f'<{k}>{v}</{k}>' for k, v in scores.items())
        marks.append(
            (number, f'<characteristics>{scores_xml}</characteristics>{rois}')
        )
    sessions = ''
    for reader in range(1, 5):
        body = ''.join(
            f'<unblindedReadNodule><noduleID>R{reader}N{number}</noduleID>'
            f'{text}</unblindedReadNodule>'
            for number, text in marks
        )
        sessions += (
            '<readingSession><servicingRadiologistID>'
            f'{reader}</servicingRadiologistID>{body}</readingSession>\n'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>'
        f'<SeriesInstanceUid>{uid}</SeriesInstanceUid></ResponseHeader>\n'
        f'{sessions}</LidcReadMessage>\n'
    )


def _outlines(mask: np.ndarray, geometry: Geometry) -> str:
    """One region a slice; its points lie just outside the nodule."""
    rois = []
    for k in np.flatnonzero(mask.any((1, 2))):
        z = geometry.to_world(np.array([[k, 0, 0]]))[0, 2]
        parts, num = ndimage.label(mask[k])
        for part in range(1, num + 1):
            ring = _ring(parts == part)
            points = ''.join(
                f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
                for y, x in ring
            )
            rois.append(
                f'<roi><imageZposition>{z:.4f}</imageZposition>'
                f'<inclusion>TRUE</inclusion>{points}</roi>'
            )
    return ''.join(rois)


def _ring(part: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) y, x around a region, in order of their angle."""
    block = ndimage.binary_dilation(part, np.ones((3, 3)))
    ring = np.argwhere(block & ~ndimage.binary_fill_holes(part))
    offset = ring - np.argwhere(part).mean(0)
    order = np.argsort(np.arctan2(offset[:, 0], offset[:, 1]))
    return np.concatenate([ring[order], ring[order[:1]]])
