"""Lungs found in real scans, beside masks that were looked at."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lungdet.geometry import Geometry, reorient, resample_nearest
from lungdet.geometry.boxes import box_of_mask
from lungdet.io.image import load_volume, read_image
from lungdet.prepare import find_lungs
from lungdet.prepare.coarse import coarse_means
from lungdet.prepare.grid import LUNG_MARGIN_MM
from lungdet.prepare.lung_field import LungField
from lungdet.structures import Volume

WHOLE = (
    'LIDC-IDRI-0004',
    'LIDC-IDRI-0005',
    'LIDC-IDRI-0021',
    'LIDC-IDRI-0314',
    'R01-001',
    'TCGA-DE-A4MA',
)
FOLDERS = ('luna16-mini', 'luna16-more', 'backgrounds')
AIRWAY_MM = 60.0  # from the middle: the throat's half width
LUMEN_HU, WALL_MM = -750, 9.0
STREAK_ML = 0.5  # dark beside dense contrast: LIDC-IDRI-0003's mask holds one


def reference_on(path: Path, grid: Geometry) -> np.ndarray:
    """A given mask on the coarse grid, its labels."""
    image = read_image(path)
    labels, geometry = reorient(image.array, image.geometry)
    return resample_nearest(labels.astype(np.uint8), geometry, grid, fill=0)


def airway_of(
    hu: np.ndarray, reference: np.ndarray, mask: np.ndarray, grid: Geometry
) -> np.ndarray:
    """The airway that the given masks hold and lungs should not.

    Their own label 5 where they have one, and the air near the middle that
    the lungs found leave out and that surrounds a dark lumen, with the wall.
    """
    columns = np.flatnonzero((reference > 0).any((0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    aside = np.abs(np.arange(hu.shape[2]) - middle) * grid.spacing[2]
    air = (reference > 0) & ~mask & (hu < -500) & (aside < AIRWAY_MM)
    parts, _ = ndimage.label(air, np.ones((3, 3, 3)))
    lumens = np.setdiff1d(parts[air & (hu < LUMEN_HU)], [0])
    airway = np.isin(parts, lumens) | (reference == 5)
    if not airway.any():
        return airway
    return ndimage.distance_transform_edt(~airway, grid.spacing) <= WALL_MM


def check_lungs(volume: Volume, lungs: LungField, path: Path) -> None:
    mask, grid = lungs.mask, lungs.geometry
    assert lungs.source == 'computed', lungs.caveats
    labels = reference_on(path, grid)
    given = labels > 0
    dice = 2 * (mask & given).sum() / (mask.sum() + given.sum())
    assert dice >= 0.96

    # nothing of bowel: lungs end where the given ones do
    from_given = ndimage.distance_transform_edt(~given, grid.spacing)
    assert from_given[mask].max() <= 12.0  # the closing of both
    below = mask[: np.flatnonzero(given.any((1, 2)))[0]]
    assert below.sum() * np.prod(grid.spacing) / 1000 < 5.0

    # all air of the lungs within 6 mm; the given masks hold the airway, and
    # soft tissue of the mediastinum that their closing takes in around it
    from_mask = ndimage.distance_transform_edt(~mask, grid.spacing)
    hu, _ = coarse_means(volume)
    lung = given & ~airway_of(hu, labels, mask, grid)
    missed = lung & (hu < -500) & (from_mask > 6.0)
    assert missed.sum() * np.prod(grid.spacing) / 1000 <= STREAK_ML
    assert from_mask[lung].max() <= 14.0

    sizes = [
        np.prod(
            np.clip(
                box[3:] - box[:3] + 2 * LUNG_MARGIN_MM / grid.spacing,
                0,
                mask.shape,
            )
        )
        for box in map(box_of_mask, (mask, given))
        if box is not None
    ]
    assert sizes[0] <= 1.15 * sizes[1]


@pytest.mark.parametrize('name', WHOLE)
def test_lungs_of_a_whole_field_of_view(test_data: Path, name: str) -> None:
    folder = test_data / 'whole_3mm'
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    volume = load_volume(folder / f'{name}.mha')

    check_lungs(volume, find_lungs(volume), folder / f'{name}_lungs.mha')


def scans_of(folder: Path) -> list[tuple[Path, Path]]:
    """Scans of a folder in LUNA16's layout, each with its lung mask."""
    pairs = []
    for mask in sorted((folder / 'seg-lungs-LUNA16').glob('*.mhd')):
        for scan in (
            *folder.glob(f'*/{mask.name}'),
            *folder.glob(f'*/{mask.stem}'),
        ):
            if scan.parent != mask.parent:
                pairs.append((scan, mask))
    return pairs


@pytest.mark.slow
@pytest.mark.parametrize('name', FOLDERS)
def test_lungs_and_nodules_of_full_scans(test_data: Path, name: str) -> None:
    folder = test_data / name
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    with open(folder / 'annotations.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    pairs = scans_of(folder)
    assert len(pairs) == {'luna16-mini': 3, 'luna16-more': 4}.get(name, 2)

    checked = 0
    for scan, mask in pairs:
        volume = load_volume(scan)
        lungs = find_lungs(volume)
        check_lungs(volume, lungs, mask)
        away = ndimage.distance_transform_edt(
            ~lungs.mask, lungs.geometry.spacing
        )
        for row in rows:
            if row['seriesuid'] != mask.stem:
                continue
            center = [float(row[f'coord{axis}']) for axis in 'XYZ']
            index = lungs.geometry.to_index(np.array([center]))[0]
            assert away[tuple(np.rint(index).astype(int))] <= 8.0
            checked += 1
    assert checked == len(rows)
