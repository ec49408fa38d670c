"""The report of one scan: what was detected, where, and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lungdet.evaluation import (
    MatchOutcome,
    annotation_points,
    detection_points,
    match_scan,
)
from lungdet.geometry import (
    UNKNOWN_DIAMETER_MM,
    box_slices,
    points_in_spheres,
)
from lungdet.report.html.cine import Cine, CineBox, ScanImage, make_cine
from lungdet.report.html.page import POLICY, render_page
from lungdet.report.html.view import View, views_of
from lungdet.report.html.volume_viewer import VIEWER_POLICY, embedded_volumes
from lungdet.report.pictures import BOX_FRACTION, HALF_MM, Picture
from lungdet.structures import Annotation, Detection, SeriesResult

MAX_PICTURES = 40  # detections with planes, the best ones
OUTCOMES = {
    MatchOutcome.HIT: 'hit',
    MatchOutcome.FALSE: 'false',
    MatchOutcome.IGNORED: 'excluded',
    MatchOutcome.CUT: 'beyond the cap',
}


@dataclass(frozen=True)
class ScanReference:
    """What is known to be in a scan.

    Attributes:
        name: Name of the reference, such as of its table.
        nodules: Its nodules.
        excluded: Findings that are neither hit nor false positive.
    """

    name: str
    nodules: Sequence[Annotation]
    excluded: Sequence[Annotation] = ()


@dataclass(frozen=True)
class DetectionEntry:
    """A detection as the page shows it.

    Attributes:
        number: From 1, the best first.
        detection: The detection.
        outcome: Its match outcome, empty without a reference.
        picture: Number of its picture in the cine, None without a cine.
        views: Its three planes; only the best ``MAX_PICTURES`` have them.
    """

    number: int
    detection: Detection
    outcome: str
    picture: int | None
    views: Sequence[View]


@dataclass(frozen=True)
class NoduleEntry:
    """A reference nodule as the page shows it.

    Attributes:
        number: From 1, in the order of the reference.
        nodule: The nodule.
        hit_by: Number of the best detection on it, None if it was missed.
        picture: Number of its picture in the cine, None without a cine.
        views: The three planes of a missed nodule.
    """

    number: int
    nodule: Annotation
    hit_by: int | None
    picture: int | None
    views: Sequence[View]


def scan_page(
    result: SeriesResult,
    image: ScanImage | None = None,
    *,
    reference: ScanReference | None = None,
    viewer: str | None = None,
) -> str:
    """The report of a scan as one self-contained HTML file.

    Args:
        result: What was detected.
        image: The scan's voxels, or those of its prepared case; None for
            tables only.
        reference: Its nodules, None if not known.
        viewer: One of ``VIEWERS``, for the whole volume; None for none.

    Raises:
        SeriesError: The page would be too large.
    """
    cine = None
    if image is not None:
        cine = make_cine(image, result)
    detections = _detections(result, image, cine, reference)
    nodules = _nodules(result, image, cine, reference)
    volumes = None
    if viewer is not None and image is not None:
        volumes = embedded_volumes(image, result.detections)
    return render_page(
        'scan.html',
        POLICY if volumes is None else VIEWER_POLICY,
        result=result,
        oblique=result.geometry.canonical_order() is None,
        detections=detections,
        max_pictures=MAX_PICTURES,
        reference=reference,
        nodules=nodules,
        cine=cine,
        start=_start(cine, detections, nodules),
        data=_script_data(image, cine, detections, nodules),
        volumes=volumes,
    )


def _start(
    cine: Cine | None,
    detections: Sequence[DetectionEntry],
    nodules: Sequence[NoduleEntry],
) -> int:
    """The picture that is shown first, of what matters most."""
    if cine is None:
        return 0
    pictures = [e.picture for e in detections] + [n.picture for n in nodules]
    known = [k for k in pictures if k is not None]
    return known[0] if known else len(cine.images) // 2


def _detections(
    result: SeriesResult,
    image: ScanImage | None,
    cine: Cine | None,
    reference: ScanReference | None,
) -> list[DetectionEntry]:
    outcomes = [''] * len(result.detections)
    if reference is not None:
        match = match_scan(
            annotation_points(reference.nodules),
            annotation_points(reference.excluded),
            detection_points(result.detections),
        )
        outcomes = [OUTCOMES[MatchOutcome(k)] for k in match.outcomes]
    return [
        DetectionEntry(
            number,
            detection,
            outcome,
            _picture_number(image, cine, detection.center_mm),
            _detection_views(image, number, detection)
            if number <= MAX_PICTURES
            else (),
        )
        for (number, detection), outcome in zip(result.numbered(), outcomes)
    ]


def _nodules(
    result: SeriesResult,
    image: ScanImage | None,
    cine: Cine | None,
    reference: ScanReference | None,
) -> list[NoduleEntry]:
    if reference is None:
        return []
    centers, diameters = annotation_points(reference.nodules)
    points, _ = detection_points(result.detections)
    entries = []
    for number, (nodule, on_it) in enumerate(
        zip(reference.nodules, points_in_spheres(centers, diameters, points)),
        start=1,
    ):
        hits = np.flatnonzero(on_it)  # detections are sorted by score
        hit_by = int(hits[0]) + 1 if len(hits) else None
        views = () if hit_by else _nodule_views(image, nodule)
        picture = _picture_number(image, cine, nodule.center_mm)
        entries.append(NoduleEntry(number, nodule, hit_by, picture, views))
    return entries


def _picture_number(
    image: ScanImage | None,
    cine: Cine | None,
    center_mm: tuple[float, float, float],
) -> int | None:
    if image is None or cine is None:
        return None
    (index,) = image.geometry.to_index(np.array([center_mm]))
    return cine.number_of(index[0])


def _detection_views(
    image: ScanImage | None, number: int, detection: Detection
) -> Sequence[View]:
    if image is None:
        return ()
    size = detection.size_mm
    return _views(image, detection.center_mm, size, number)


def _nodule_views(
    image: ScanImage | None, nodule: Annotation
) -> Sequence[View]:
    if image is None:
        return ()
    side = nodule.diameter_mm or UNKNOWN_DIAMETER_MM
    return _views(image, nodule.center_mm, (side, side, side))


def _views(
    image: ScanImage,
    center_mm: tuple[float, float, float],
    size_mm: tuple[float, float, float] | None,
    number: int = 0,
) -> Sequence[View]:
    """Three planes of the voxels around a point; none outside the array."""
    half_mm = max([HALF_MM, *(side / BOX_FRACTION for side in size_mm or ())])
    grid = image.geometry
    (center,) = grid.to_index(np.array([center_mm]))
    reach = half_mm / grid.spacing + 1
    low = np.clip(np.floor(center - reach), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(center + reach) + 1, 0, grid.shape).astype(int)
    if (high <= low).any():
        return ()
    region = box_slices(np.append(low, high))
    part = grid.crop(low, high - low)
    box = outline = None
    if size_mm is not None:
        (box,) = part.box_around([center_mm], [size_mm])
    if image.labels is not None and number:
        outline = image.labels[region] == number
    picture = Picture(image.array[region], part, center_mm, '', box, outline)
    return views_of(picture)


def _script_data(
    image: ScanImage | None,
    cine: Cine | None,
    detections: Sequence[DetectionEntry],
    nodules: Sequence[NoduleEntry],
) -> dict:
    """What the page's script draws."""
    if image is None or cine is None:
        return {'images': [], 'captions': [], 'boxes': []}
    boxes: list[CineBox] = []
    for entry in detections:
        detection = entry.detection
        (edges,) = image.geometry.box_around(
            [detection.center_mm], [detection.size_mm or (0.0, 0.0, 0.0)]
        )
        kind = entry.outcome or 'detection'
        label = f'#{entry.number}'
        boxes.append(cine.box(edges, label, kind, detection.score))
    for one in nodules:
        (edges,) = image.geometry.sphere_box(
            [one.nodule.center_mm],
            one.nodule.diameter_mm or UNKNOWN_DIAMETER_MM,
        )
        kind = 'nodule' if one.hit_by else 'missed'
        boxes.append(cine.box(edges, f'N{one.number}', kind, None))
    return {
        'images': cine.images,
        'captions': cine.captions,
        'boxes': [asdict(box) for box in boxes],
    }
