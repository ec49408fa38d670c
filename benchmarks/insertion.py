"""Inserted nodules against real ones: a classifier, noise, time, a sheet.

python -m benchmarks.insertion DATA STORE LIBRARY [--sheet PNG] [--seeds 5]

DATA holds `nodule-cubes/lidc_51mm.npz`, STORE the prepared cases of
`luna16-mini` and `luna16-more`, LIBRARY comes from `lungdet prepare nodules`.
Real nodules are those of STORE and of the cubes whose scan's spacing LIBRARY
knows. Beside each, nodules of other patients, of its size, texture and site,
are inserted into the same scan, so that only the insertion differs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage
from scipy.optimize import minimize
from terminaltables import AsciiTable

from lungdet.geometry import Geometry
from lungdet.insertion.blend import scan_profiles
from lungdet.insertion.donor import donor_of_nodule
from lungdet.insertion.draw import DrawOptions, draw_nodule
from lungdet.insertion.placement import Insertion, Placement, render
from lungdet.insertion.sites import Room, Sphere
from lungdet.insertion.source import LibrarySource
from lungdet.io.atomic import atomic_path
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import LibraryNodule, read_library
from lungdet.prepare.nodules import surroundings

SIZE_TOLERANCE = 0.12  # of the diameter of a real nodule's counterpart
MIN_DIAMETER, MAX_DIAMETER = 4.0, 20.0
SHELLS = np.array([0, 0.35, 0.7, 1.0, 1.3, 1.7, 2.2])  # of the radius
NOISE_SHELLS = {'inside': (0, 0.75), 'edge': (0.75, 1.3), 'out': (1.3, 2.2)}
FOLDS, RIDGE, RESAMPLES = 10, 1.0, 1000


@dataclass(frozen=True, eq=False)
class Background:
    """A scan or a cube of one, and a real nodule in it.

    Attributes:
        image: HU (z, y, x) on ``grid``.
        lungs: Its lungs.
        grid: Of the image.
        source: Grid of the scan.
        patient: Whose it is.
        real: The library's entry of the nodule.
        center: Its centre, index (z, y, x).
        others: All real nodules of the image.
    """

    image: np.ndarray
    lungs: np.ndarray
    grid: Geometry
    source: Geometry
    patient: str
    real: LibraryNodule
    center: np.ndarray
    others: list[Sphere]


@dataclass(frozen=True, eq=False)
class Sample:
    """A nodule to compare: an image, its centre, and where it is from.

    Attributes:
        image: HU, float32 (z, y, x).
        center: Index (z, y, x).
        diameter: mm.
        patient: Of the image.
        inserted: Whether the nodule was.
        number: Of the real nodule that it is compared with.
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
    """The store's nodules, then those of the cubes of other patients."""
    patients = set()
    for uid, record in store.records.items():
        entries = [n for n in library if n.series_uid == uid]
        patients |= {n.patient for n in entries}
        centers = record.geometry.to_index(
            np.array([n.center_mm for n in record.nodules]).reshape(-1, 3)
        )
        others = [
            Sphere(center, nodule.diameter_mm / 2)
            for center, nodule in zip(centers, record.nodules)
        ]
        for nodule, center in zip(record.nodules, centers):
            near = [
                n
                for n in entries
                if abs(n.diameter_mm - nodule.diameter_mm) < 0.1
            ]
            if near:
                yield Background(
                    store.read(uid, 'image'),
                    store.read(uid, 'lungs'),
                    record.geometry,
                    record.source_geometry,
                    near[0].patient,
                    near[0],
                    center,
                    others,
                )
    yield from _cubes(data, library, patients)


def _cubes(
    data: Path, library: Sequence[LibraryNodule], known: set[str]
) -> Iterator[Background]:
    spacings = {nodule.patient: nodule.spacing for nodule in library}
    with np.load(data / 'nodule-cubes' / 'lidc_51mm.npz') as cubes:
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
            diameter_mm=float((6 * mask.sum() / np.pi) ** (1 / 3)),
            spacing=(1, 1, 1),
            hu=hu,
            mask=mask,
            ratings={'Texture': texture},
            **around._asdict(),
        )
        spacing = np.array(spacings[patient])
        source = Geometry.from_parts(
            np.ceil(np.array(hu.shape) / spacing).astype(int).tolist(),
            spacing_zyx=spacing.tolist(),
            origin_xyz=((spacing - 1) / 2)[::-1].tolist(),
        )
        yield Background(
            hu,
            _lungs_of_cube(hu),
            Geometry.from_parts(
                hu.shape, spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
            ),
            source,
            patient,
            real,
            np.argwhere(mask).mean(0),
            [Sphere(np.argwhere(mask).mean(0), real.diameter_mm / 2)],
        )


def _lungs_of_cube(hu: np.ndarray) -> np.ndarray:
    dark = ndimage.gaussian_filter(hu.astype(np.float32), 0.7) < -500
    ball = np.hypot.reduce(np.indices((11, 11, 11)) - 5) <= 5
    padded = np.pad(dark, 5, mode='edge')
    closed = ndimage.binary_closing(padded, ball)[5:-5, 5:-5, 5:-5]
    return closed.astype(np.uint8)


def texture_class(nodule: LibraryNodule) -> int:
    """0 ground glass, 1 part solid, 2 solid, of the readers' majority."""
    texture = nodule.ratings.get('Texture', 5)
    return 0 if texture < 3 else 1 if texture < 5 else 2


def counterparts(
    behind: Background, library: Sequence[LibraryNodule]
) -> list[LibraryNodule]:
    """Nodules of other patients that resemble a real one."""
    real = behind.real
    diameter = donor_of_nodule(real).diameter_mm
    return [
        n
        for n in library
        if n.patient != behind.patient
        and n.site == real.site
        and texture_class(n) == texture_class(real)
        and abs(n.diameter_mm / diameter - 1) < SIZE_TOLERANCE
    ]


def insert_beside(
    behind: Background,
    library: Sequence[LibraryNodule],
    rng: np.random.Generator,
    pairs: int,
) -> list[tuple[Placement, Insertion]]:
    """Up to ``pairs`` counterparts at free sites of the same scan."""
    near = counterparts(behind, library)
    diameter = donor_of_nodule(behind.real).diameter_mm
    if not near:
        return []
    source = LibrarySource(near)
    spacing = behind.grid.spacing
    room = Room(
        behind.image,
        behind.lungs,
        spacing,
        margin=diameter * 0.6 + 2,
        occupied=[Sphere(c * spacing, r) for c, r in behind.others],
    )
    inserted = []
    for _ in range(pairs):
        drawn = draw_nodule(rng, room, source, DrawOptions(scale=(1, 1)))
        if drawn is not None:
            profiles = scan_profiles(behind.grid, behind.source, drawn.psf_mm)
            shape = behind.grid.shape
            donor = source.donor(drawn)
            one = render(donor, drawn, shape, spacing, profiles)
            inserted.append((drawn, one))
    return inserted


def samples(
    data: Path,
    store: CaseStore,
    library: Sequence[LibraryNodule],
    *,
    pairs: int = 3,
    seed: int = 0,
) -> list[Sample]:
    """Real nodules, each with its inserted counterparts."""
    rng = np.random.default_rng(seed)
    out: list[Sample] = []
    for number, behind in enumerate(backgrounds(data, store, library)):
        diameter = donor_of_nodule(behind.real).diameter_mm
        if not MIN_DIAMETER <= diameter <= MAX_DIAMETER:
            continue
        inserted = insert_beside(behind, library, rng, pairs)
        if inserted:
            part, center = _cut(behind.image, behind.center)
            out.append(
                Sample(part, center, diameter, behind.patient, False, number)
            )
        for drawn, one in inserted:
            part, center = _cut(one.into(behind.image), np.array(drawn.center))
            out.append(
                Sample(
                    part,
                    center,
                    one.diameter_mm,
                    behind.patient,
                    True,
                    number,
                )
            )
    return out


def _cut(
    image: np.ndarray, center: np.ndarray, half: int = 25
) -> tuple[np.ndarray, np.ndarray]:
    low = np.maximum(np.rint(center).astype(int) - half, 0)
    high = np.minimum(low + 2 * half + 1, image.shape)
    part = image[tuple(slice(a, b) for a, b in zip(low, high))]
    return np.clip(part, -1000, 400).astype(np.float32), center - low


def features(sample: Sample) -> np.ndarray:
    """What a small classifier sees: profiles, noise and edges by shell."""
    radius = sample.diameter / 2
    away = _distance(sample.image.shape, _recentred(sample)) / radius
    values: list[float] = []
    for low, high in zip(SHELLS[:-1], SHELLS[1:]):
        shell = sample.image[(away >= low) & (away < high)]
        values += [float(shell.mean()), float(shell.std())]
    across = np.abs(np.gradient(sample.image, axis=2))
    through = np.abs(np.gradient(sample.image, axis=0))
    edge = (away > 0.75) & (away < 1.3)
    values += [float(across[edge].mean()), float(through[edge].mean())]
    fine_x, fine_z = (_high_pass(sample.image, axis) for axis in (2, 0))
    for low, high in NOISE_SHELLS.values():
        shell = (away >= low) & (away < high)
        values += [
            float(np.log(fine[shell].std() + 1)) for fine in (fine_x, fine_z)
        ]
        values.append(_slice_correlation(fine_x, shell))
    inner = sample.image[away < 1]
    values += [float(v) for v in np.quantile(inner, [0.1, 0.5, 0.98])]
    return np.array(values)


def _distance(shape: Sequence[int], center: np.ndarray) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, center)))


def _recentred(sample: Sample) -> np.ndarray:
    """The same rule for real and inserted: the centre of what is bright."""
    near = _distance(sample.image.shape, sample.center)
    weight = np.clip(sample.image + 600, 0, 500)
    weight = weight * (near < sample.diameter * 0.55)
    if weight.sum() == 0:
        return sample.center
    return np.array(ndimage.center_of_mass(weight))


def _high_pass(image: np.ndarray, axis: int) -> np.ndarray:
    return ndimage.correlate1d(image, [-0.5, 1.0, -0.5], axis=axis)


def _slice_correlation(fine: np.ndarray, shell: np.ndarray) -> float:
    """Correlation with the next slice, of voxels that both are inside."""
    both = shell[1:] & shell[:-1]
    if both.sum() < 8 or fine[1:][both].std() * fine[:-1][both].std() == 0:
        return 0.0
    return float(np.corrcoef(fine[1:][both], fine[:-1][both])[0, 1])


@dataclass(frozen=True)
class Separation:
    """How well inserted nodules are told from real ones.

    Attributes:
        auc: Area under the ROC curve, .5 for chance.
        low: Lower end of its 95 % interval, resampled by patients.
        high: Upper end.
        real: Number of real nodules.
        inserted: Number of inserted ones.
        patients: Number of patients.
    """

    auc: float
    low: float
    high: float
    real: int
    inserted: int
    patients: int


def separation(drawn: Sequence[Sample], seed: int = 0) -> Separation:
    """Logistic regression, cross-validated by patient."""
    table = np.array([features(sample) for sample in drawn])
    labels = np.array([sample.inserted for sample in drawn])
    patients = np.array([sample.patient for sample in drawn])
    names = np.unique(patients)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    scores = np.zeros(len(drawn))
    for fold in range(FOLDS):
        test = np.isin(patients, names[order % FOLDS == fold])
        if test.any():
            scores[test] = _logistic(table[~test], labels[~test], table[test])
    draws = []
    rows = {name: np.flatnonzero(patients == name) for name in names}
    for _ in range(RESAMPLES):
        chosen = rng.choice(names, len(names))
        index = np.concatenate([rows[name] for name in chosen])
        draws.append(area(scores[index], labels[index]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Separation(
        area(scores, labels),
        float(low),
        float(high),
        int((~labels).sum()),
        int(labels.sum()),
        len(names),
    )


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half."""
    gap = scores[labels][:, None] - scores[~labels][None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def _logistic(
    table: np.ndarray, labels: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Scores of a ridge logistic regression, both classes of equal weight."""
    middle, spread = table.mean(0), table.std(0) + 1e-6
    known, unknown = (table - middle) / spread, (test - middle) / spread
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    sign = np.where(labels, 1.0, -1.0)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (known @ values[1:] + values[0])
        error = weight * np.logaddexp(0, -margin)
        slope = -weight * sign / (1 + np.exp(np.clip(margin, -30, 30)))
        gradient = np.concatenate([[slope.sum()], known.T @ slope])
        gradient[1:] += RIDGE * values[1:]
        return float(
            error.sum() + RIDGE / 2 * (values[1:] ** 2).sum()
        ), gradient

    start = np.zeros(table.shape[1] + 1)
    best = minimize(loss, start, jac=True, method='L-BFGS-B').x
    return unknown @ best[1:] + best[0]


@dataclass(frozen=True)
class GateResult:
    """Inserted against real nodules over several seeds of insertion.

    Attributes:
        separations: One for each seed.
        noise: Shell -> noise along x, along z, and correlation with the next
            slice, medians of inserted over those of real nodules.
    """

    separations: list[Separation]
    noise: dict[str, tuple[float, float, float]]

    @property
    def auc(self) -> float:
        """Mean over the seeds, which the gate holds below .65."""
        return float(np.mean([one.auc for one in self.separations]))


def run_gate(
    data: Path, store: CaseStore, library: Sequence[LibraryNodule], seeds: int
) -> GateResult:
    """The classifier and the noise, for some seeds of insertion."""
    separations, tables, labels = [], [], []
    for seed in range(seeds):
        drawn = samples(data, store, library, seed=seed)
        separations.append(separation(drawn))
        tables += [features(sample) for sample in drawn]
        labels += [sample.inserted for sample in drawn]
    table, inserted = np.array(tables), np.array(labels)
    middle = [np.median(table[part], 0) for part in (~inserted, inserted)]
    first = 2 * (len(SHELLS) - 1) + 2
    noise = {}
    for number, shell in enumerate(NOISE_SHELLS):
        real, other = (m[first + 3 * number :][:3] for m in middle)
        along_x, along_z = np.exp(other[:2] - real[:2])
        noise[shell] = (float(along_x), float(along_z), other[2] / real[2])
    return GateResult(separations, noise)


def sheet(drawn: Sequence[Sample], count: int = 60) -> Figure:
    """Inserted nodules on the left, real ones on the right, by size."""
    figure = Figure(figsize=(16, 7.6), layout='constrained')
    for part, title, inserted in zip(
        figure.subfigures(1, 2), ('inserted', 'real'), (True, False)
    ):
        part.suptitle(title, fontsize=12)
        shown = [s for s in drawn if s.inserted == inserted]
        keep = np.linspace(0, len(shown) - 1, min(count, len(shown)))
        chosen = [shown[int(k)] for k in keep]
        chosen.sort(key=lambda sample: sample.diameter)
        axes = part.subplots(10, 6).ravel()
        for axis in axes:
            axis.axis('off')
        for axis, sample in zip(axes, chosen):
            axis.imshow(_tile(sample), cmap='gray', vmin=-1000, vmax=300)
    return figure


def _tile(sample: Sample, half: int = 16) -> np.ndarray:
    """Axial and coronal plane side by side."""
    center = np.rint(sample.center).astype(int) + half
    padded = np.pad(sample.image, half, constant_values=-1000)
    z, y, x = (slice(c - half, c + half + 1) for c in center)
    axial, coronal = padded[center[0], y, x], padded[z, center[1], x][::-1]
    return np.hstack([axial, np.full((2 * half + 1, 1), 300), coronal])


def real_nodules(data: Path, store: CaseStore) -> list[Sample]:
    """All real nodules that may be shown: the store's and the cubes'."""
    shown = []
    for uid, record in store.records.items():
        image = store.read(uid, 'image')
        for nodule in record.nodules:
            center = record.geometry.to_index([nodule.center_mm])[0]
            part, middle = _cut(image, center)
            shown.append(
                Sample(part, middle, nodule.diameter_mm, uid, False, 0)
            )
    with np.load(data / 'nodule-cubes' / 'lidc_51mm.npz') as cubes:
        for hu, mask in zip(cubes['hu'], cubes['mask']):
            diameter = float((6 * mask.sum() / np.pi) ** (1 / 3))
            part, middle = _cut(hu, np.argwhere(mask).mean(0))
            shown.append(Sample(part, middle, diameter, '', False, 0))
    return [s for s in shown if s.diameter >= MIN_DIAMETER]


def crop_milliseconds(
    store: CaseStore, source: str, crops: int = 150
) -> tuple[float, float]:
    """CPU-ms a 64^3 crop with ``NoduleInsertion``'s defaults, mean and p95."""
    from lungdet.datasets.transforms import (
        LoadCrop,
        NoduleInsertion,
        PlaceCrop,
    )

    chosen, load = PlaceCrop(size=(64, 64, 64)), LoadCrop()
    insertion = NoduleInsertion(source)
    rng, times = np.random.default_rng(0), []
    records = list(store.records.values())
    for number in range(2 * crops):
        sample = {
            'store': store,
            'record': records[number % len(records)],
            'kind': 'lung',
            'nodule': None,
            'held_out': frozenset(),
        }
        for step in (chosen, load):
            sample = step.apply(sample, step.draw(rng, sample))
        start = time.process_time()
        insertion.apply(sample, insertion.draw(rng, sample))
        times.append((time.process_time() - start) * 1e3)
    warm = times[crops:]  # donors are made once
    return float(np.mean(warm)), float(np.quantile(warm, 0.95))


def main() -> None:
    """Print the tables; draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('store', type=Path)
    parser.add_argument('library', type=Path)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--sheet', type=Path)
    args = parser.parse_args()
    store, library = CaseStore(args.store), read_library(args.library)
    if args.sheet:
        drawn = samples(args.data, store, library, pairs=2)
        inserted = [sample for sample in drawn if sample.inserted]
        figure = sheet([*inserted, *real_nodules(args.data, store)])
        with atomic_path(args.sheet) as aside:
            figure.savefig(aside, dpi=75)
    result = run_gate(args.data, store, library, args.seeds)
    rows = [('seed', 'real', 'inserted', 'patients', 'AUC', '95 %')]
    rows += [
        (
            str(seed),
            str(one.real),
            str(one.inserted),
            str(one.patients),
            f'{one.auc:.3f}',
            f'{one.low:.2f}..{one.high:.2f}',
        )
        for seed, one in enumerate(result.separations)
    ]
    rows.append(('mean', '', '', '', f'{result.auc:.3f}', ''))
    print(AsciiTable(rows).table)
    noise = [('shell', 'noise along x', 'along z', 'slice correlation')]
    noise += [
        (shell, *(f'{value:.2f}' for value in values))
        for shell, values in result.noise.items()
    ]
    print(AsciiTable(noise, 'inserted / real').table)
    for source in (str(args.library), 'parametric'):
        mean, most = crop_milliseconds(store, source)
        print(f'{source}: {mean:.1f} CPU-ms a crop, 95 % below {most:.1f}')


if __name__ == '__main__':
    main()
