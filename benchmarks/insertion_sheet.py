"""Picture of inserted nodules beside real ones.

python -m benchmarks.insertion_sheet DATA STORE LIBRARY PNG

DATA, STORE and LIBRARY are those of ``benchmarks.insertion``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from benchmarks.insertion_pairs import (
    CUBES,
    MIN_DIAMETER,
    NodulePatch,
    cut_around,
    samples,
)
from lungdet.cli.errors import clean_errors
from lungdet.geometry import sphere_diameter
from lungdet.io.atomic import atomic_path
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import read_library


def sheet(
    inserted: Sequence[NodulePatch],
    real: Sequence[NodulePatch],
    count: int = 60,
) -> Figure:
    """The smallest real nodules on the right, by size; at the same place on
    the left an inserted one of about the same diameter."""
    shown = sorted(real, key=lambda sample: sample.diameter)[:count]
    figure = Figure(figsize=(16, 7.6), layout='constrained')
    for part, title, tiles in zip(
        figure.subfigures(1, 2),
        ('inserted', 'real'),
        (matched(inserted, shown), shown),
    ):
        part.suptitle(title, fontsize=12)
        axes = part.subplots(10, 6).ravel()
        for axis in axes:
            axis.axis('off')
        for axis, sample in zip(axes, tiles):
            axis.imshow(_tile(sample), cmap='gray', vmin=-1000, vmax=300)
    return figure


def matched(
    inserted: Sequence[NodulePatch], real: Sequence[NodulePatch]
) -> list[NodulePatch]:
    """For each real nodule another inserted one, with the smallest sum of
    differences in log diameter."""
    sizes, wanted = (
        np.log([sample.diameter for sample in samples])
        for samples in (inserted, real)
    )
    _, chosen = linear_sum_assignment(np.abs(wanted[:, None] - sizes))
    return [inserted[k] for k in chosen]


def _tile(sample: NodulePatch, half: int = 16) -> np.ndarray:
    """Axial and coronal plane side by side."""
    center = np.rint(sample.center).astype(int) + half
    padded = np.pad(sample.image, half, constant_values=-1000)
    z, y, x = (slice(c - half, c + half + 1) for c in center)
    axial, coronal = padded[center[0], y, x], padded[z, center[1], x][::-1]
    return np.hstack([axial, np.full((2 * half + 1, 1), 300), coronal])


def real_nodules(data: Path, store: CaseStore) -> list[NodulePatch]:
    """All real nodules of the store and the cubes."""
    shown = []
    for uid, record in store.records.items():
        image = store.read(uid, 'image')
        for nodule in record.nodules:
            center = record.geometry.to_index([nodule.center_mm])[0]
            part, middle = cut_around(image, center)
            shown.append(
                NodulePatch(part, middle, nodule.diameter_mm, uid, False, 0)
            )
    with np.load(data / CUBES) as cubes:
        for hu, mask in zip(cubes['hu'], cubes['mask']):
            diameter = sphere_diameter(mask.sum())
            part, middle = cut_around(hu, np.argwhere(mask).mean(0))
            shown.append(NodulePatch(part, middle, diameter, '', False, 0))
    return [s for s in shown if s.diameter >= MIN_DIAMETER]


def main() -> None:
    """Save the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('store', type=Path)
    parser.add_argument('library', type=Path)
    parser.add_argument('png', type=Path)
    args = parser.parse_args()
    store, library = CaseStore(args.store), read_library(args.library)
    pairs = samples(args.data, store, library, pairs=6)
    inserted = [sample for sample in pairs if sample.inserted]
    figure = sheet(inserted, real_nodules(args.data, store))
    with atomic_path(args.png) as aside:
        figure.savefig(aside, dpi=75)


if __name__ == '__main__':
    with clean_errors('benchmarks.insertion_sheet'):
        main()
