"""Random draws of insertions: nodules at suitable sites, and shams."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungdet.insertion.donor import Donor
from lungdet.insertion.donor_parts import donor_of_scan
from lungdet.insertion.placement import Placement
from lungdet.insertion.sites import Room
from lungdet.insertion.source import NoduleSource

NODULE_TRIES = 4  # nodules to try until there is a site for one
SHAM_TRIES = 5  # attempts to find a piece of one kind and a site for it
SHAM_SITES = ('parenchyma', 'vessel', 'pleura')
SHAM_RADIUS_MM = (3.0, 8.0)
INTO_WALL_MM = 0.3  # overlap of a nodule with the pleura that it touches


@dataclass(frozen=True)
class DrawOptions:
    """Ranges of the random parameters.

    Attributes:
        scale: Magnification of a nodule.
        psf_mm: Sigma of the in-plane point spread function, in mm.
    """

    scale: tuple[float, float] = (0.9, 1.1)
    psf_mm: tuple[float, float] = (0.45, 0.7)


def draw_nodule(
    rng: np.random.Generator,
    room: Room,
    source: NoduleSource,
    options: DrawOptions,
    held_out: Collection[str] = (),
) -> Placement | None:
    """Draw a nodule and a free site, and mark the site as occupied.

    Args:
        rng: Random generator.
        room: Free sites of a crop or case; changed.
        source: Source of nodules.
        options: Ranges of the random parameters.
        held_out: Series uids and patients whose nodules must not be used.

    Returns:
        The placement; None if no free site was found.

    Raises:
        ConfigError: All nodules are held out.
    """
    for _ in range(NODULE_TRIES):
        drawn = source.draw(rng, held_out)
        donor = source.donor(drawn)
        scale = float(rng.uniform(*options.scale))
        radius = donor.diameter_mm * scale / 2
        site = room.find(rng, drawn.site, radius)
        if site is None:
            continue
        angle = float(rng.uniform(-np.pi, np.pi))
        center = site.center
        if site.outward is not None and donor.wall_direction is not None:
            angle = _angle_between(site.outward[1:], donor.wall_direction)
            depth = scale * _extent_to_wall(donor)
            depth += donor.wall_mm or -INTO_WALL_MM
            center = center - depth * site.outward / room.spacing
            if not room.is_apart(center, radius):
                continue
        room.occupy(center, radius)
        return replace(
            drawn,
            center=tuple(center.tolist()),
            angle=angle,
            flip_z=bool(rng.random() < 0.5),
            scale=scale,
            psf_mm=float(rng.uniform(*options.psf_mm)),
            noise=room.noise,
        )
    return None


def draw_sham(
    rng: np.random.Generator, room: Room, options: DrawOptions
) -> Placement | None:
    """Draw a piece of the scan and another free site for it; mark the site as
    occupied.

    The piece is denoised, blurred and blended in like a nodule, so that traces
    of the insertion do not distinguish inserted nodules from the background.

    Returns:
        The placement; None if no free sites were found.
    """
    kinds = rng.permutation(SHAM_SITES).tolist()
    for kind in [kind for kind in kinds for _ in range(SHAM_TRIES)]:
        radius = float(rng.uniform(*SHAM_RADIUS_MM))
        origin = room.find(rng, kind, radius)
        if origin is None:
            continue
        cut = np.rint(origin.center).astype(int).tolist()
        if donor_of_scan(room.image, room.spacing, cut, radius, kind) is None:
            continue
        target = room.find(rng, kind, radius)
        if target is None:
            continue
        angle = float(rng.uniform(-np.pi, np.pi))
        if origin.outward is not None and target.outward is not None:
            angle = _angle_between(target.outward[1:], origin.outward[1:])
        room.occupy(target.center, radius)
        return Placement(
            'sham',
            'scan',
            kind,
            tuple(target.center.tolist()),
            angle=angle,
            flip_z=bool(rng.random() < 0.5),
            psf_mm=float(rng.uniform(*options.psf_mm)),
            size_mm=radius,
            cut=tuple(cut),
            noise=room.noise,
        )
    return None


def donor_of(
    placement: Placement,
    source: NoduleSource,
    image: np.ndarray,
    spacing: np.ndarray,
) -> Donor:
    """The donor that a placement inserts.

    Args:
        placement: The placement.
        source: Source of nodules.
        image: HU (z, y, x) of the crop, before any insertion.
        spacing: Spacing (z, y, x) of the crop in mm.

    Raises:
        ValueError: The placement was drawn for another image, and this one
            lacks the piece that it cuts out.
    """
    if placement.source != 'scan':
        return source.donor(placement)
    z, y, x = placement.cut
    piece = donor_of_scan(
        image, spacing, (z, y, x), placement.size_mm, placement.site
    )
    if piece is None:
        raise ValueError(f'{placement}: was drawn for another image.')
    return piece


def _angle_between(
    outward: Sequence[float] | np.ndarray,
    donor_direction: Sequence[float] | np.ndarray,
) -> float:
    """Angle that turns a donor's direction to the wall (y, x) outward."""
    to_wall = np.arctan2(outward[1], outward[0])
    return float(to_wall - np.arctan2(donor_direction[1], donor_direction[0]))


def _extent_to_wall(donor: Donor) -> float:
    """Distance in mm from a donor's centre to its side at the wall."""
    away = (np.argwhere(donor.level > 0.5) - donor.center) * donor.spacing
    along = away[:, 1:] @ np.array(donor.wall_direction)
    return float(np.quantile(along, 0.985))
