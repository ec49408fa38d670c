"""Free sites in a scan: in parenchyma, at a vessel, at the pleura."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lungdet.insertion.blend import tissue_noise
from lungdet.io.case_store import CaseStore
from lungdet.structures import Annotation, CaseNodule, CaseRecord

TRIES = 40  # random positions to try
SMALLEST_MM = 6.0  # a smaller finding is treated as one of this diameter
GAP_MM = 3.0  # smallest distance between the surfaces of two findings
CLEAR_MM = 2.0  # lung around a nodule in parenchyma
BESIDE_VESSEL_MM = 1.0  # distance of a voxel of the vessel from the centre
VESSEL_HU = -450  # brighter voxels in the lungs belong to vessels
# largest mean HU around a centre; above it is hilum, wall or another organ
TOO_DENSE = {'parenchyma': -700.0, 'vessel': -600.0, 'pleura': -520.0}
# smallest fraction of points around a nodule that must be in the lungs
IN_LUNGS = {'parenchyma': 1.0, 'vessel': 0.95, 'pleura': 0.64}
WALL_HU = -250  # smallest mean HU of the tissue behind the pleura
WALL_DEPTH_MM = 5.0  # depth over which that mean is taken
FARTHEST_WALL_MM = 40.0  # longest search path from a voxel to the pleura
WALL_STEP_MM = 0.7  # step of that search
# largest |z| of the pleura's normal: donors are rotated in the axial plane
STEEPEST = 0.6
NEIGHBOURS = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1
DIRECTIONS = NEIGHBOURS / np.linalg.norm(NEIGHBOURS, axis=1)[:, None]


class GridSphere(NamedTuple):
    """A sphere: centre (z, y, x) in mm from the first voxel, radius in mm."""

    center: np.ndarray
    radius: float


class Site(NamedTuple):
    """A free site.

    Attributes:
        center: Index (3,), z, y, x; at the pleura, a point of the pleura.
        outward: Unit vector (3,) towards the wall, z, y, x; None if the site
            is not at the pleura.
    """

    center: np.ndarray
    outward: np.ndarray | None = None


class Room:
    """The free sites of a crop or a case.

    Args:
        image: HU (z, y, x).
        lungs: Lung mask, nonzero inside, same shape.
        spacing: Spacing (z, y, x) in mm.
        margin: Smallest distance in voxels of a centre from the faces.
        occupied: Findings to keep away from.
    """

    def __init__(
        self,
        image: np.ndarray,
        lungs: np.ndarray,
        spacing: np.ndarray,
        *,
        margin: float = 0.0,
        occupied: Sequence[GridSphere] = (),
    ) -> None:
        self.image, self.lungs = image, lungs
        self.spacing, self.margin = spacing, margin
        self.occupied = list(occupied)
        inside = lungs != 0
        self.inner = np.flatnonzero(inside)
        self.vessels = np.flatnonzero(inside & (image > VESSEL_HU))

    @classmethod
    def of_case(
        cls, store: CaseStore, record: CaseRecord, *, margin: float = 0.0
    ) -> Room:
        """Free sites of a whole case, away from its nodules and excluded
        findings.

        Args:
            store: Case store.
            record: Record of the case.
            margin: Smallest distance in voxels of a centre from the faces.
        """
        uid, grid = record.series_uid, record.geometry
        findings: list[CaseNodule | Annotation] = [
            *record.nodules,
            *record.excluded,
        ]
        centers = grid.to_index(
            np.array([one.center_mm for one in findings]).reshape(-1, 3)
        )
        return cls(
            store.read(uid, 'image'),
            store.read(uid, 'lungs'),
            grid.spacing,
            margin=margin,
            occupied=[
                GridSphere(
                    center * grid.spacing,
                    max(one.diameter_mm or 0.0, SMALLEST_MM) / 2,
                )
                for center, one in zip(centers, findings)
            ],
        )

    def find(
        self, rng: np.random.Generator, site: str, radius_mm: float
    ) -> Site | None:
        """Draw a free site.

        Args:
            rng: Random generator.
            site: ``'parenchyma'``, ``'vessel'`` or ``'pleura'``.
            radius_mm: Radius in mm of the inserted shape.

        Returns:
            The site; None if no position tried was free.
        """
        voxels = self.vessels if site == 'vessel' else self.inner
        if not voxels.size:
            return None
        for _ in range(TRIES):
            voxel = voxels[rng.integers(voxels.size)]
            point = np.array(np.unravel_index(voxel, self.image.shape))
            if site == 'pleura':
                wall = self._wall_from(rng, point)
                if wall is not None and self._is_free(site, wall, radius_mm):
                    return wall
                continue
            if site == 'vessel':
                beside = rng.normal(size=3)
                beside *= BESIDE_VESSEL_MM / np.linalg.norm(beside)
                point = point + beside / self.spacing
            if self._is_free(site, Site(point.astype(float)), radius_mm):
                return Site(point.astype(float))
        return None

    @cached_property
    def noise(self) -> float:
        """Noise of soft tissue relative to that of parenchyma; see
        ``tissue_noise``."""
        return tissue_noise(self.image, self.lungs)

    def is_apart(self, center: np.ndarray, radius_mm: float) -> bool:
        """Whether a shape is far enough from the faces and other findings.

        Args:
            center: Index (z, y, x) of its centre.
            radius_mm: Its radius in mm.
        """
        edge = np.maximum(self.margin, radius_mm / self.spacing)
        last = np.array(self.image.shape) - 1
        if (center < edge).any() or (center > last - edge).any():
            return False
        gaps = [
            np.linalg.norm(other.center - center * self.spacing) - other.radius
            for other in self.occupied
        ]
        return all(gap >= radius_mm + GAP_MM for gap in gaps)

    def occupy(self, center: np.ndarray, radius_mm: float) -> None:
        """Keep later sites away from a finding.

        Args:
            center: Index (z, y, x) of its centre.
            radius_mm: Its radius in mm.
        """
        self.occupied.append(GridSphere(center * self.spacing, radius_mm))

    def _wall_from(
        self, rng: np.random.Generator, point: np.ndarray
    ) -> Site | None:
        """Walk from a point in a random direction of the axial plane until
        the pleura, and estimate its normal there."""
        turn = rng.uniform(0, 2 * np.pi)
        along = np.array([0, np.sin(turn), np.cos(turn)])
        steps = np.arange(0, FARTHEST_WALL_MM, WALL_STEP_MM)[:, None]
        inside = self._values(self.lungs, point + steps * along / self.spacing)
        if inside is None:
            return None
        left = np.flatnonzero(inside[:-1] + inside[1:] == 0)
        if not left.size:
            return None
        # the lungs end somewhere in the step before
        reached = steps[left[0]] - WALL_STEP_MM / 2
        wall = point + reached * along / self.spacing
        outward = self._normal(wall)
        if outward is None or abs(outward[0]) > STEEPEST:
            return None
        depths = np.arange(1.5, WALL_DEPTH_MM)[:, None]
        behind = self._values(
            self.image, wall + depths * outward / self.spacing
        )
        if behind is None or behind.mean() < WALL_HU:
            return None
        return Site(wall, outward)

    def _normal(self, wall: np.ndarray) -> np.ndarray | None:
        """Unit vector that points away from the lung voxels around a point."""
        low = np.rint(wall).astype(int) - 4
        high = low + 9
        if (low < 0).any() or (high > self.image.shape).any():
            return None
        part = self.lungs[tuple(slice(a, b) for a, b in zip(low, high))]
        voxels = np.argwhere(part)
        if not 260 < len(voxels) < 520:  # of 729; else it is not a flat wall
            return None
        away = (4 - voxels.mean(0)) * self.spacing
        length = np.linalg.norm(away)
        return away / length if length > 0.5 else None

    def _is_free(self, site: str, at: Site, radius_mm: float) -> bool:
        center = at.center
        if at.outward is not None:
            center = center - 0.6 * radius_mm * at.outward / self.spacing
        if not self.is_apart(center, radius_mm):
            return False
        clear = CLEAR_MM if site == 'parenchyma' else 0.0
        around = center + DIRECTIONS * (radius_mm + clear) / self.spacing
        lungs = self._values(self.lungs, around)
        if lungs is None or (lungs != 0).mean() < IN_LUNGS[site]:
            return False
        low = np.rint(center - radius_mm / self.spacing).astype(int)
        high = np.rint(center + radius_mm / self.spacing).astype(int) + 1
        part = self.image[tuple(slice(a, b) for a, b in zip(low, high))]
        return bool(part[::2, ::2, ::2].mean() < TOO_DENSE[site])

    def _values(
        self, array: np.ndarray, points: np.ndarray
    ) -> np.ndarray | None:
        """Values of the voxels nearest to indices (n, 3); None if one of them
        lies outside."""
        index = np.rint(points).astype(int)
        if (index < 0).any() or (index >= self.image.shape).any():
            return None
        return array[tuple(index.T)]
