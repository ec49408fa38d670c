"""Small scans to prepare, and the cases made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.structures import Volume
from tests.dicom_series import write_slice

SCANS = ('a', 'b', 'c')
SPACING = (3.0, 3.0, 3.0)  # mm, of a chest


def write_scan(path: Path, seed: int = 0) -> Geometry:
    """Noise of soft tissue and air; no lungs, so all of it is kept."""
    rng = np.random.default_rng(seed)
    shape = (10, 20 + seed, 18)
    array = rng.integers(-900, 100, shape).astype(np.int16)
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(6.0, 4.0, 3.2), origin_xyz=(1, 2, 3)
    )
    write_image(path, array, geometry)
    return geometry


def air(count: int = 8) -> np.ndarray:
    planes = np.full((count, 16, 24), -900, np.int16)
    planes[:, 8:] = 40
    return planes


def write_folder(folder: Path, uid: str, z0: float = 0.0) -> None:
    """A series of 8 slices, 10 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, plane in enumerate(air()):
        write_slice(
            folder, k, plane, name=f'{uid}_{k}', series=uid, z=z0 + 10 * k
        )


def table_of(folder: Path, text: str) -> Path:
    path = folder / 'nodules.csv'
    path.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\n' + text)
    return path


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob('*'))
        if path.is_file()
    }


def block_scan(shape: tuple[int, int, int] = (16, 40, 50)) -> Volume:
    """A solid block, so the whole scan is kept."""
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(2.5, 0.8, 0.7), origin_xyz=(-10, 20, -30)
    )
    return Volume(np.full(shape, 40, np.int16), geometry, 'a')


def chest(shape: tuple[int, int, int] = (70, 90, 110)) -> np.ndarray:
    """A body of soft tissue with two lungs, on a 3 mm grid."""
    z, y, x = np.indices(shape)
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[((y - 45) / 36) ** 2 + ((x - 55) / 48) ** 2 < 1] = 40
    for side in (33, 77):
        inside = ((y - 44) / 24) ** 2 + ((x - side) / 16) ** 2
        hu[inside + ((z - 35) / 28) ** 2 < 1] = -850
    return hu


def volume_of(hu: np.ndarray) -> Volume:
    geometry = Geometry.from_parts(
        hu.shape, spacing_zyx=SPACING, origin_xyz=(0, 0, 0)
    )
    return Volume(hu, geometry, 'x')
