"""One synthetic scan with its ground truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lungdet.errors import ConfigError
from lungdet.phantom.chest import LEFT_LUNG
from lungdet.phantom.conditions import check_conditions
from lungdet.phantom.look_alikes import add_look_alikes
from lungdet.phantom.nodules import Nodule, add_nodules
from lungdet.phantom.noise import add_noise
from lungdet.phantom.render import make_chest
from lungdet.structures import Annotation, Volume

SIZES = ('small', 'full')
TIGHT_MM = 3.0
READERS = 4  # who marked each nodule, as in LIDC
LISTED_LOOK_ALIKES = 0.4  # chance of a look-alike to be an excluded finding


@dataclass(frozen=True)
class Phantom:
    """One synthetic scan with its ground truth.

    Attributes:
        volume: The scan.
        annotations: Its nodules, world mm.
        excluded: Findings for the exclusion list, world mm.
        lungs: uint8 (z, y, x), 3 right lung, 4 left lung, 5 trachea.
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
    conditions: Collection[str] = (),
) -> Phantom:
    """Draw one phantom; the same seed gives the same voxels.

    Args:
        seed: Seed of all random draws.
        size: ``'full'``, a grown chest, or ``'small'``, a quarter of it.
        series_uid: Identifier of the scan.
        num_nodules: How many; None draws from LUNA16's numbers per scan.
        conditions: What makes this chest unusual, names of
            ``lungdet.phantom.conditions.CONDITIONS``.

    Raises:
        ConfigError: Unknown size or condition.
    """
    check_conditions(conditions)
    if size not in SIZES:
        raise ConfigError(f'size: {size!r}; choose one of {SIZES}.')
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    chest = make_chest(rng, size, conditions)
    nodules, masks = add_nodules(rng, chest, num_nodules)
    look_alikes = add_look_alikes(rng, chest, nodules)

    def world(point: np.ndarray) -> tuple[float, float, float]:
        x, y, z = (float(v) for v in chest.to_world(point)[0])
        return round(x, 4), round(y, 4), round(z, 4)

    annotations = [
        Annotation(world(n.center), round(n.diameter, 4), READERS)
        for n in nodules
    ]
    # as in LUNA16, the list also holds marks on the nodules themselves
    excluded = [
        Annotation(a.center_mm, round(a.diameter_mm * 0.9, 4))
        for a in annotations
        if a.diameter_mm
    ]
    listed = [p for p in look_alikes if rng.random() < LISTED_LOOK_ALIKES]
    excluded += [Annotation(world(point), None) for point in listed]
    hu = add_noise(rng, chest)
    phantom = Phantom(
        Volume(hu, chest.body.geometry, series_uid),
        annotations,
        excluded,
        chest.labels,
        masks,
        nodules,
        chest.body.noise,
    )
    phantom.lungs[chest.solid] = LEFT_LUNG
    return _cut_tight(phantom) if 'tight_view' in conditions else phantom


def _cut_tight(phantom: Phantom) -> Phantom:
    """A field of view that ends 3 mm from the lungs, along x and y."""
    geometry = phantom.volume.geometry
    inside = np.argwhere((phantom.lungs > 0).any(0))
    margin = np.rint(TIGHT_MM / geometry.spacing[1:]).astype(int)
    low = np.maximum(inside.min(0) - margin, 0)
    high = np.minimum(inside.max(0) + 1 + margin, geometry.shape[1:])
    part = (slice(None), *(slice(a, b) for a, b in zip(low, high)))
    grid = geometry.crop((0, *low), (geometry.shape[0], *(high - low)))
    array = np.ascontiguousarray(phantom.volume.array[part])
    return replace(
        phantom,
        volume=replace(phantom.volume, array=array, geometry=grid),
        lungs=np.ascontiguousarray(phantom.lungs[part]),
        masks=np.ascontiguousarray(phantom.masks[part]),
    )
