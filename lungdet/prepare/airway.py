"""The trachea and main bronchi, followed slice by slice from the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungdet.geometry import occupied

AIRWAY_HU = -750  # coarse voxels of an airway are below this
LUMEN_HU = -930  # the darkest voxel of a lumen is below this
SECTION_MM2 = (30.0, 700.0)  # of a section
WIDTH_MM = 40.0
OFF_MIDDLE_MM = 40.0
STEP_MM = 6.0  # between the centres of two sections, at least two slices
GROWTH = 2.2  # if a section grows by more, it has reached the lung
MIN_LENGTH_MM = 25.0
BRIGHT_WEIGHT = 0.3  # weight of a track that is too bright for a lumen


@dataclass(frozen=True)
class Section:
    """A dark part of a slice that may belong to the airway."""

    slice_index: int
    center: np.ndarray  # y, x in voxels
    area: float  # mm2
    voxels: tuple[np.ndarray, np.ndarray]  # y, x


@dataclass
class Track:
    """Consecutive sections, towards the feet.

    Attributes:
        sections: In order, from the head.
        area: Smoothed area of the last ones, mm2.
    """

    sections: list[Section]
    area: float

    def takes(self, section: Section, spacing: np.ndarray) -> bool:
        """Whether a section of the next slice continues this track."""
        offset = (self.sections[-1].center - section.center) * spacing[1:]
        reach = max(STEP_MM, 2 * spacing[0])
        is_near = bool(np.hypot(*offset) < reach)
        return is_near and section.area < GROWTH * self.area

    def extended(self, section: Section) -> Track:
        """The track with one more section."""
        area = 0.7 * self.area + 0.3 * section.area
        return Track([*self.sections, section], area)


def find_airway(
    hu: np.ndarray, body: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """The longest dark track near the centre of the body.

    Args:
        hu: Coarse (z, y, x), z to the head.
        body: Boolean (z, y, x), filled.
        spacing: mm along (z, y, x).

    Returns:
        Boolean (z, y, x), the lumen without its wall; empty if no track is 25
        mm long.
    """
    airway = np.zeros(hu.shape, dtype=bool)
    tracks = [
        track
        for track in _tracks(hu, body, spacing)
        if len(track.sections) * spacing[0] >= MIN_LENGTH_MM
    ]
    if tracks:
        best = max(tracks, key=lambda track: _weight(track, hu))
        for section in best.sections:
            airway[section.slice_index][section.voxels] = True
    return airway


def _tracks(
    hu: np.ndarray, body: np.ndarray, spacing: np.ndarray
) -> list[Track]:
    air = body & (hu < AIRWAY_HU)
    columns = occupied(body, 2)
    middle = (columns.start + columns.stop - 1) / 2
    ended: list[Track] = []
    active: list[Track] = []
    for k in range(len(hu) - 1, -1, -1):
        following = []
        for section in _sections(air[k], k, spacing, middle):
            before = [t for t in active if t.takes(section, spacing)]
            if before:
                longest = max(before, key=lambda track: len(track.sections))
                following.append(longest.extended(section))
            else:
                following.append(Track([section], section.area))
        ended += active
        active = following
    return ended + active


def _sections(
    air: np.ndarray, slice_index: int, spacing: np.ndarray, middle: float
) -> list[Section]:
    """Parts of a slice (y, x) as small and central as an airway's."""
    sections = []
    parts, _ = ndimage.label(air)
    for number, region in enumerate(ndimage.find_objects(parts), start=1):
        y, x = np.nonzero(parts[region] == number)
        area = float(len(y) * spacing[1] * spacing[2])
        width = max(np.array([np.ptp(y) + 1, np.ptp(x) + 1]) * spacing[1:])
        y, x = y + region[0].start, x + region[1].start
        center = np.array([y.mean(), x.mean()])
        if (
            SECTION_MM2[0] <= area <= SECTION_MM2[1]
            and width <= WIDTH_MM
            and abs(center[1] - middle) * spacing[2] <= OFF_MIDDLE_MM
        ):
            sections.append(Section(slice_index, center, area, (y, x)))
    return sections


def _weight(track: Track, hu: np.ndarray) -> float:
    darkest = [hu[s.slice_index][s.voxels].min() for s in track.sections]
    is_lumen = np.mean(darkest) < LUMEN_HU
    return len(track.sections) * (1.0 if is_lumen else BRIGHT_WEIGHT)
