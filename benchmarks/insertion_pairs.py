"""Real nodules, and similar ones inserted into the same scans.

Real nodules are those of the prepared cases, and of the cubes if the library
has the spacing of their scan. For each of them, nodules of other patients with
the same size, texture and site are inserted into the same scan, so that only
the insertion differs. For ``benchmarks.insertion``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungdet.geometry import Geometry, sphere_diameter
from lungdet.insertion.donor import donor_of_nodule
from lungdet.insertion.draw import DrawOptions, draw_nodule
from lungdet.insertion.insert import insert
from lungdet.insertion.sites import GridSphere, Room
from lungdet.insertion.source import LibrarySource
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import LibraryNodule
from lungdet.prepare.nodules import surroundings

CUBES = Path('nodule-cubes', 'lidc_51mm.npz')
SIZE_TOLERANCE = 0.12  # relative difference of the diameters
MIN_DIAMETER, MAX_DIAMETER = 4.0, 20.0


@dataclass(frozen=True, eq=False)
class Background:
    """A scan, or a cube cut out of one, with a real nodule.

    Attributes:
        room: HU, lungs and free sites.
        grid: Grid of the image.
        scan: Grid of the scan.
        real: The nodule, as in the library.
        diameter: Diameter in mm of its shape without blur.
        center: Index (z, y, x) of its centre.
    """

    room: Room
    grid: Geometry
    scan: Geometry
    real: LibraryNodule
    diameter: float
    center: np.ndarray


@dataclass(frozen=True, eq=False)
class NodulePatch:
    """An image with a nodule, real or inserted.

    Attributes:
        image: HU, float32 (z, y, x).
        center: Index (z, y, x) of the nodule's centre.
        diameter: Diameter of the nodule in mm.
        patient: Patient of the image.
        inserted: Whether the nodule was inserted.
        number: Number of the real nodule that it is compared with.
    """

    image: np.ndarray
    center: np.ndarray
    diameter: float
    patient: str
    inserted: bool
    number: int


def backgrounds(
    data: Path, store: CaseStore, library: Sequence[LibraryNodule]
) -> Iterator[Background]:
    """Nodules of the store, then nodules of cubes of other patients."""
    patients = set()
    for uid, record in store.records.items():
        entries = [n for n in library if n.series_uid == uid]
        patients |= {n.patient for n in entries}
        for nodule in record.nodules:
            near = [
                n
                for n in entries
                if abs(n.diameter_mm - nodule.diameter_mm) < 0.1
            ]
            if near:
                diameter = donor_of_nodule(near[0]).diameter_mm
                yield Background(
                    Room.of_case(store, record, margin=_margin(diameter)),
                    record.geometry,
                    record.source_geometry,
                    near[0],
                    diameter,
                    record.geometry.to_index([nodule.center_mm])[0],
                )
    yield from _cubes(data, library, patients)


def _cubes(
    data: Path, library: Sequence[LibraryNodule], known: set[str]
) -> Iterator[Background]:
    spacings = {nodule.patient: nodule.spacing for nodule in library}
    with np.load(data / CUBES) as cubes:
        rows = list(zip(cubes['hu'], cubes['mask'], cubes['patient'].tolist()))
        textures = cubes['ratings'][
            :, cubes['rating_names'].tolist().index('texture')
        ]
    for (hu, outline, patient), texture in zip(rows, textures.tolist()):
        if patient in known or patient not in spacings:
            continue
        mask = outline > 0
        around = surroundings(hu, mask, (1, 1, 1))
        real = LibraryNodule(
            name=patient,
            patient=patient,
            series_uid='',
            diameter_mm=sphere_diameter(mask.sum()),
            spacing=(1, 1, 1),
            hu=hu,
            mask=mask,
            ratings={'Texture': texture},
            **around._asdict(),
        )
        spacing = np.array(spacings[patient])
        scan = Geometry.from_parts(
            np.ceil(np.array(hu.shape) / spacing).astype(int).tolist(),
            spacing_zyx=spacing.tolist(),
            origin_xyz=((spacing - 1) / 2)[::-1].tolist(),
        )
        diameter = donor_of_nodule(real).diameter_mm
        center = np.argwhere(mask).mean(0)
        grid = Geometry.from_parts(
            hu.shape, spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        )
        room = Room(
            hu,
            _lungs_of_cube(hu),
            grid.spacing,
            margin=_margin(diameter),
            occupied=[GridSphere(center, real.diameter_mm / 2)],
        )
        yield Background(room, grid, scan, real, diameter, center)


def _margin(diameter: float) -> float:
    """Distance of an inserted nodule's centre from the faces, in voxels of
    1 mm."""
    return diameter * 0.6 + 2


def _lungs_of_cube(hu: np.ndarray) -> np.ndarray:
    dark = ndimage.gaussian_filter(hu.astype(np.float32), 0.7) < -500
    ball = np.hypot.reduce(np.indices((11, 11, 11)) - 5) <= 5
    padded = np.pad(dark, 5, mode='edge')
    closed = ndimage.binary_closing(padded, ball)[5:-5, 5:-5, 5:-5]
    return closed.astype(np.uint8)


def texture_class(nodule: LibraryNodule) -> int:
    """Texture by the readers' majority: 0 ground glass, 1 part solid,
    2 solid."""
    texture = nodule.ratings.get('Texture', 5)
    return 0 if texture < 3 else 1 if texture < 5 else 2


def similar_nodules(
    behind: Background, library: Sequence[LibraryNodule]
) -> list[LibraryNodule]:
    """Library nodules of other patients with the real nodule's site, texture
    and size."""
    real = behind.real
    return [
        n
        for n in library
        if n.patient != real.patient
        and n.site == real.site
        and texture_class(n) == texture_class(real)
        and abs(n.diameter_mm / behind.diameter - 1) < SIZE_TOLERANCE
    ]


def insert_beside(
    behind: Background,
    library: Sequence[LibraryNodule],
    rng: np.random.Generator,
    pairs: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Insert up to ``pairs`` similar nodules at free sites, one per image.

    Yields:
        The image, and the centre and diameter in mm of the inserted nodule.
    """
    near = similar_nodules(behind, library)
    if not near:
        return
    source, room = LibrarySource(near), behind.room
    for _ in range(pairs):
        drawn = draw_nodule(rng, room, source, DrawOptions(scale=(1, 1)))
        if drawn is not None:
            image, (shape,) = insert(
                room.image, [drawn], source, behind.grid, behind.scan
            )
            yield image, np.array(drawn.center), shape.diameter_mm


def samples(
    data: Path,
    store: CaseStore,
    library: Sequence[LibraryNodule],
    *,
    pairs: int = 3,
    seed: int = 0,
) -> list[NodulePatch]:
    """Real nodules, each followed by similar inserted ones."""
    rng = np.random.default_rng(seed)
    out: list[NodulePatch] = []
    for number, behind in enumerate(backgrounds(data, store, library)):
        if not MIN_DIAMETER <= behind.diameter <= MAX_DIAMETER:
            continue
        patient = behind.real.patient
        inserted = [
            NodulePatch(
                *cut_around(image, center), diameter, patient, True, number
            )
            for image, center, diameter in insert_beside(
                behind, library, rng, pairs
            )
        ]
        if inserted:
            part, center = cut_around(behind.room.image, behind.center)
            out.append(
                NodulePatch(
                    part, center, behind.diameter, patient, False, number
                )
            )
        out += inserted
    return out


def cut_around(
    image: np.ndarray, center: np.ndarray, half: int = 25
) -> tuple[np.ndarray, np.ndarray]:
    """Crop an image around an index; returns the crop, and the index in it."""
    low = np.maximum(np.rint(center).astype(int) - half, 0)
    high = np.minimum(low + 2 * half + 1, image.shape)
    part = image[tuple(slice(a, b) for a, b in zip(low, high))]
    return np.clip(part, -1000, 400).astype(np.float32), center - low
