"""Nodules for insertion: from a table of crops, or from a case store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungdet.errors import SeriesError, counted
from lungdet.hounsfield import TISSUE_HU
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import LibraryNodule, write_library
from lungdet.io.npz import read_arrays
from lungdet.structures import CaseNodule, CaseRecord

MARGIN_MM = 10.0  # kept around a mask that is cut out of a case
WALL_MM2 = 120.0  # a piece of tissue this large at a crop's border is a wall
TOUCH_MM = 2.0  # nearer than this, a nodule sits on the pleura
VESSEL_MM = 1.5, 3.5  # tissue of a vessel from the mask; nearer is blur
VESSEL_MM3 = 6.0  # of it


class Surroundings(NamedTuple):
    """What a nodule touches; fields as in ``LibraryNodule``."""

    site: str
    wall_mm: float | None
    wall_direction: tuple[float, float] | None


def prepare_nodules(source: str | Path, out: str | Path) -> list[str]:
    """Write a nodule library.

    Args:
        source: An ``.npz`` of LIDC crops (keys ``hu``, ``mask``, ``offset``,
            ``shape_zyx``, ``spacing_xyz``, ``patient``, ``seriesuid``,
            ``diameter_mm`` and optionally ``ratings``), or a folder of
            prepared cases with masks.
        out: The library's file, ``.npz``.

    Returns:
        One line per count: nodules, patients, sites, and what was left out.

    Raises:
        SeriesError: Neither of the two, no nodule has a mask, or nodules
            were inserted.
        OSError: A file cannot be read or written.
    """
    path = Path(source)
    if path.is_dir():
        store = CaseStore(path)
        nodules = list(nodules_of_store(store))
        listed = sum(len(one.nodules) for one in store.records.values())
    else:
        nodules = list(nodules_of_table(path))
        listed = len(nodules)
    whole = [nodule for nodule in nodules if nodule.mask.any()]
    if not whole:
        raise SeriesError(
            f'{source}: no nodule has a mask; prepare the scans with '
            '--lidc-xml, or give masks.'
        )
    write_library(out, whole)
    sites = [nodule.site for nodule in whole]
    counts = ', '.join(f'{sites.count(s)} {s}' for s in sorted(set(sites)))
    patients = len({nodule.patient for nodule in whole})
    left_out = listed - len(whole)
    return [
        f'{counted(len(whole), "nodule")} of {counted(patients, "patient")} '
        f'in {out} ({counts})',
        *([f'{left_out} without a mask left out'] if left_out else []),
    ]


def nodules_of_table(path: Path) -> Iterator[LibraryNodule]:
    """Nodules of an archive of LIDC crops.

    Raises:
        SeriesError: It is not such an archive.
    """
    try:
        yield from _crops_of(read_arrays(path))
    except SeriesError:
        raise
    except (
        *(AttributeError, IndexError, KeyError),
        *(OverflowError, TypeError, ValueError),
    ) as error:
        raise SeriesError(
            f'{path}: no archive of LIDC crops ({error}); give one, or a '
            'folder of prepared cases.'
        ) from error


def _crops_of(table: Mapping[str, np.ndarray]) -> Iterator[LibraryNodule]:
    """Nodules of the arrays of an archive.

    Raises:
        KeyError: One is missing.
        ValueError: One is of another size than the others, or holds values
            that it cannot hold. Wrong types raise what numpy raises.
    """
    hu, offset = table['hu'], table['offset']
    shapes, spacings = table['shape_zyx'], table['spacing_xyz'][:, ::-1]
    names, uids = table['patient'], table['seriesuid']
    diameters = table['diameter_mm']
    ratings, rated = table.get('ratings'), table.get('rating_names', ())
    each = [offset[:-1], shapes, spacings, names, uids, diameters]
    each += [] if ratings is None else [ratings]
    if len({len(values) for values in each}) > 1:
        raise ValueError('its arrays are of different lengths')
    ends = np.cumsum([0, *np.prod(shapes.astype(object), axis=1)])
    if [*ends] != [*offset] or hu.shape != (offset[-1],):
        raise ValueError('shape_zyx, offset and hu contradict each other')
    if hu.dtype.kind not in 'iuf' or not np.isfinite(spacings).all():
        raise ValueError('hu or spacing_xyz are not numbers')
    if spacings.min(initial=1) <= 0 or not (diameters > 0).all():
        raise ValueError('a spacing or a diameter is not above 0')
    masks = np.unpackbits(table['mask'], count=int(offset[-1])).astype(bool)
    for i, shape in enumerate(shapes):
        voxels = slice(offset[i], offset[i + 1])
        along_z, along_y, along_x = spacings[i].tolist()
        spacing = (along_z, along_y, along_x)
        crop, mask = hu[voxels].reshape(shape), masks[voxels].reshape(shape)
        yield LibraryNodule(
            name=str(table['name'][i])
            if 'name' in table
            else f'{uids[i]}-{i}',
            patient=str(names[i]),
            series_uid=str(uids[i]),
            diameter_mm=float(diameters[i]),
            spacing=spacing,
            hu=crop,
            mask=mask,
            ratings={}
            if ratings is None
            else dict(zip(map(str, rated), ratings[i].tolist())),
            **surroundings(crop, mask, spacing)._asdict(),
        )


def nodules_of_store(store: CaseStore) -> Iterator[LibraryNodule]:
    """Nodules with masks of prepared cases.

    Raises:
        SeriesError: A case of which nodules were inserted. They would enter
            under the patient of the scan around them.
    """
    for record in store.records.values():
        if record.kind != 'scan':
            raise SeriesError(
                f'{store.root}: the nodules of {record.series_uid} were '
                'inserted and are not of its patient; give the folder of the '
                'scans.'
            )
    for record in store.records.values():
        for nodule in record.nodules:
            if nodule.has_mask:
                yield _cut_out(store, record, nodule)


def _cut_out(
    store: CaseStore, record: CaseRecord, nodule: CaseNodule
) -> LibraryNodule:
    uid, shape = record.series_uid, record.geometry.shape
    margin = round(MARGIN_MM / record.spacing_mm)
    box = np.array(nodule.mask_box).astype(int)
    low = np.clip(box[:3] - margin, 0, shape)
    high = np.clip(box[3:] + margin, 0, shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high))
    hu = store.read(uid, 'image', (z, y, x))
    mask = store.read(uid, 'mask', (z, y, x)) == nodule.id
    spacing = (record.spacing_mm,) * 3
    return LibraryNodule(
        name=f'{uid}-{nodule.id}',
        patient=record.patient_id or uid,
        series_uid=uid,
        diameter_mm=nodule.diameter_mm,
        spacing=spacing,
        hu=hu,
        mask=mask,
        **surroundings(hu, mask, spacing)._asdict(),
    )


def surroundings(
    hu: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...]
) -> Surroundings:
    """What a nodule touches, judged in the slices of its mask.

    A piece of tissue that is large and reaches the border of the crop is
    taken to be the wall (chest, mediastinum or diaphragm: any pleura); other
    tissue at the mask is a vessel.

    Args:
        hu: The crop (z, y, x).
        mask: The nodule in it, bool.
        spacing: mm, (z, y, x).

    Examples:
        >>> hu = np.full((5, 40, 40), -850)
        >>> mask = np.zeros(hu.shape, dtype=bool)
        >>> mask[1:4, 17:23, 17:23] = True
        >>> hu[mask] = 0
        >>> surroundings(hu, mask, (1, 1, 1))
        Surroundings(site='parenchyma', wall_mm=None, wall_direction=None)
        >>> hu[:, :, 24:] = 40
        >>> surroundings(hu, mask, (1, 1, 1)).site
        'pleura'
    """
    if not mask.any():
        return Surroundings('parenchyma', None, None)
    step = np.array(spacing)
    away = ndimage.distance_transform_edt(~mask, sampling=step)
    center = np.array(ndimage.center_of_mass(mask))
    slices = np.flatnonzero(mask.any((1, 2)))
    tissue = (hu > TISSUE_HU) & ~mask
    tissue[: slices[0]] = tissue[slices[-1] + 1 :] = False
    walls = _walls(tissue, float(step[1] * step[2]))
    at_wall = walls & (away <= TOUCH_MM + step[1])
    wall_mm = float(away[walls].min() - step[1]) if walls.any() else None
    if wall_mm is not None and wall_mm <= TOUCH_MM and at_wall.any():
        towards = (np.argwhere(at_wall).mean(0) - center)[1:] * step[1:]
        length = float(np.linalg.norm(towards))
        unit = (towards / length).tolist() if length > 0 else [0.0, 1.0]
        return Surroundings('pleura', max(wall_mm, 0.0), tuple(unit))
    near, far = VESSEL_MM
    vessels = tissue & ~walls & (away > near) & (away <= far)
    touched = vessels.sum() * step.prod() > VESSEL_MM3
    site = 'vessel' if touched else 'parenchyma'
    return Surroundings(site, wall_mm, None)


def _walls(tissue: np.ndarray, area_mm2: float) -> np.ndarray:
    """Large pieces of tissue at a border of their slice, slice by slice."""
    walls = np.zeros_like(tissue)
    for plane, wall in zip(tissue, walls):
        labels, count = ndimage.label(plane)
        inner = plane.copy()
        inner[[0, -1]] = inner[:, [0, -1]] = False
        border = np.unique(labels[plane & ~inner])
        areas = np.bincount(labels.ravel(), minlength=count + 1) * area_mm2
        large = [n for n in border if n and areas[n] >= WALL_MM2]
        wall[:] = np.isin(labels, large)
    return walls
