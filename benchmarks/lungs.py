"""Accuracy of the lung segmentation, by comparison with inspected masks.

python -m benchmarks.lungs DATA [--picture docs/images/lungs.png]

DATA holds `whole_3mm` (`NAME.mha`, `NAME_lungs.mha`) and folders of LUNA16's
layout with `seg-lungs-LUNA16`. One row per scan: Dice on the coarse grid, lung
volumes, volume of the crop relative to that of the given mask, CPU-seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from terminaltables import AsciiTable

from lungdet.cli.errors import clean_errors
from lungdet.geometry import (
    Geometry,
    occupied,
    reorient,
    resample_nearest,
)
from lungdet.io.image import load_volume, read_image
from lungdet.prepare import find_lungs
from lungdet.prepare.coarse import coarse_means
from lungdet.prepare.grid import CROP_MARGIN_MM
from lungdet.prepare.lung_field import LungField

HEADER = ('set', 'scan', 'Dice', 'litres', 'given', 'crop', 'CPU s', 'caveats')
SHOWN_HU = (-1000, 300)


class Scan(NamedTuple):
    """A scan and the file of its lung mask."""

    folder: str
    path: Path
    mask: Path


def scans_in(data: Path) -> list[Scan]:
    """Scans with lung masks in every folder of the data.

    Raises:
        FileNotFoundError: There are none.
    """
    scans = []
    for mask in sorted((data / 'whole_3mm').glob('*_lungs.mha')):
        name = mask.name.removesuffix('_lungs.mha')
        scans.append(Scan('whole_3mm', mask.with_name(f'{name}.mha'), mask))
    for mask in sorted(data.glob('*/seg-lungs-LUNA16/*.mhd')):
        root = mask.parent.parent
        scans += [
            Scan(root.name, path, mask)
            for name in (mask.name, mask.stem)
            for path in root.glob(f'*/{name}')
            if path != mask
        ]
    if not scans:
        raise FileNotFoundError(
            f'{data}: no scans with lung masks; see --help.'
        )
    return scans


def on_grid(path: Path, grid: Geometry) -> np.ndarray:
    """A given mask resampled to another grid, boolean."""
    image = read_image(path)
    labels, geometry = reorient(image.array, image.geometry)
    voxels = (labels > 0).astype(np.uint8)
    return resample_nearest(voxels, geometry, grid, fill=0) > 0


def crop_volume(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Volume in mm3 of a mask's box with the margin of a case, clipped to the
    scan."""
    sides = []
    for axis, step in enumerate(spacing):
        span, margin = occupied(mask, axis), CROP_MARGIN_MM / step
        low = max(span.start - margin, 0)
        sides.append((min(span.stop + margin, mask.shape[axis]) - low) * step)
    return float(np.prod(sides))


def measure(scan: Scan) -> tuple[list[str], LungField, np.ndarray]:
    """The row of a scan, its segmented lungs, and the given mask on their
    grid."""
    volume = load_volume(scan.path)
    start = time.process_time()
    lungs = find_lungs(volume)
    seconds = time.process_time() - start
    spacing = lungs.geometry.spacing
    given = on_grid(scan.mask, lungs.geometry)
    litres = [m.sum() * np.prod(spacing) / 1e6 for m in (lungs.mask, given)]
    dice = 2 * (lungs.mask & given).sum() / (lungs.mask.sum() + given.sum())
    crop = crop_volume(lungs.mask, spacing) / crop_volume(given, spacing)
    name = scan.path.stem if scan.folder == 'whole_3mm' else volume.series_uid
    row = [
        scan.folder,
        name[-16:],
        f'{dice:.3f}',
        f'{litres[0]:.2f}',
        f'{litres[1]:.2f}',
        f'{crop:.2f}',
        f'{seconds:.2f}',
        str(len(lungs.caveats)),
    ]
    return row, lungs, given


def write_picture(scans: list[tuple[Scan, LungField]], path: Path) -> None:
    """Save a picture of the lungs' outlines on a coronal slice of each
    scan."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(10, 8.2), facecolor='black')
    for axis, (scan, lungs) in zip(axes.ravel(), scans):
        hu, grid = coarse_means(load_volume(scan.path))
        y = int(np.nonzero(lungs.mask)[1].mean())
        extent = (0, hu.shape[2], 0, hu.shape[0])
        aspect = grid.spacing[0] / grid.spacing[2]
        low, high = SHOWN_HU
        axis.imshow(
            hu[::-1, y],
            cmap='gray',
            vmin=low,
            vmax=high,
            aspect=aspect,
            extent=extent,
        )
        axis.contour(
            lungs.mask[:, y],
            [0.5],
            colors='tab:orange',
            linewidths=1.0,
            extent=extent,
        )
        axis.set_title(scan.path.stem, color='white', fontsize=9)
        axis.axis('off')
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=75)


def main() -> None:
    """Print the table, and draw the picture if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--picture', type=Path)
    args = parser.parse_args()
    rows, whole = [], []
    for scan in scans_in(args.data):
        row, lungs, _ = measure(scan)
        rows.append(row)
        if scan.folder == 'whole_3mm':
            whole.append((scan, lungs))
    print(AsciiTable([HEADER, *rows]).table)
    if args.picture is not None:
        write_picture(whole[:6], args.picture)


if __name__ == '__main__':
    with clean_errors('benchmarks.lungs'):
        main()
