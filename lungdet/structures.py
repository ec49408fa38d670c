"""Types that are passed between packages. No torch, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.geometry import Geometry


@dataclass(frozen=True)
class SourceSlice:
    """A slice of a DICOM series, as it is stored.

    Attributes:
        path: Its file.
        geometry: Grid (1, rows, columns) of its pixels, without the shift of
            a tilted gantry.
        sop_instance_uid: SOP instance uid of the file, None if it has none.
        instance_number: As viewers count, None if the file has none.
        frame: Which frame of a multi-frame file, from 0; None in a file of
            one slice.
    """

    path: Path
    geometry: Geometry
    sop_instance_uid: str | None = None
    instance_number: int | None = None
    frame: int | None = None


@dataclass(frozen=True)
class Volume:
    """One CT series on its voxel grid.

    Attributes:
        array: HU, int16, shape (z, y, x).
        geometry: Grid of ``array`` in world space.
        series_uid: Identifier, always text.
        caveats: What the loader repaired or found doubtful, in words.
        source_geometry: Grid as the file states it, if the loader reoriented
            the array to identity direction; None if it did not.
        patient_id: As the file states it, None if unknown.
        slices: Slices of a DICOM series, in order along their normal; empty
            for an image file.
    """

    array: np.ndarray
    geometry: Geometry
    series_uid: str = ''
    caveats: list[str] = field(default_factory=list)
    source_geometry: Geometry | None = None
    patient_id: str | None = None
    slices: tuple[SourceSlice, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """A reference nodule or an excluded finding.

    Attributes:
        center_mm: World centre (x, y, z), LPS.
        diameter_mm: None if the table does not have it.
        num_readers: How many readers marked it, None if unknown.
    """

    center_mm: tuple[float, float, float]
    diameter_mm: float | None
    num_readers: int | None = None


AnnotationTable = dict[str, list[Annotation]]  # by series uid


@dataclass(frozen=True)
class ReferenceSet:
    """Reference findings and the scans they are counted on.

    Attributes:
        name: Printed with every figure.
        annotations: Nodules by series uid.
        excluded: Findings that are neither hit nor false positive.
        seriesuids: The scans, in order; their number is the denominator.
    """

    name: str
    annotations: AnnotationTable
    excluded: AnnotationTable
    seriesuids: tuple[str, ...]

    def same_rows(self, other: ReferenceSet, series_uid: str) -> bool:
        """Whether both list a scan, with the same nodules and excluded
        findings."""
        both = {*self.seriesuids} & {*other.seriesuids}
        tables = (
            (self.annotations, other.annotations),
            (self.excluded, other.excluded),
        )
        return series_uid in both and all(
            row_differences(
                table.get(series_uid, []), wanted.get(series_uid, [])
            )
            == ([], [])
            for table, wanted in tables
        )


def row_differences(
    rows: Sequence[Annotation], wanted: Sequence[Annotation]
) -> tuple[list[Annotation], list[Annotation]]:
    """Annotations missing from ``rows``, and those only ``rows`` has.

    Centres and diameters are compared, not the order of rows; an annotation
    that is listed twice must occur twice.

    Examples:
        >>> one, two = Annotation((1, 2, 3), 4.0), Annotation((5, 6, 7), None)
        >>> row_differences([two, one], [one, two])
        ([], [])
        >>> missing, added = row_differences([one], [two])
        >>> missing == [two], added == [one]
        (True, True)
    """
    here, there = (
        Counter(Annotation(a.center_mm, a.diameter_mm) for a in part)
        for part in (rows, wanted)
    )
    return [*(there - here).elements()], [*(here - there).elements()]


@dataclass(frozen=True)
class CaseNodule:
    """A reference nodule in a prepared case.

    Attributes:
        id: Its value in the mask array, from 1.
        center_mm: World centre (x, y, z).
        diameter_mm: As the table states it, or of the mask's volume.
        box: Edge box (6,) in the case's voxels: of the sphere, or as it was
            annotated.
        num_readers: Readers who marked it, None if unknown.
        has_mask: Whether it is in the mask array.
        mask_box: Edge box (6,) of its mask, None without one.
    """

    id: int
    center_mm: tuple[float, float, float]
    diameter_mm: float
    box: tuple[float, ...]
    num_readers: int | None = None
    has_mask: bool = False
    mask_box: tuple[float, ...] | None = None


@dataclass(frozen=True)
class CaseRecord:
    """Everything about a prepared case except its voxels.

    Attributes:
        series_uid: Identifier.
        subset: LUNA16 subset, None for other data.
        geometry: Grid of the stored arrays.
        source_geometry: Grid of the scan.
        spacing_mm: Isotropic spacing.
        nodules: Reference nodules.
        excluded: Findings that are neither hit nor false positive.
        lung_mask: ``'computed'``, ``'given'`` or ``'failed'``.
        caveats: What was repaired or is doubtful.
        settings: How it was prepared; a case with equal settings is not
            prepared again.
        checksums: CRC-32 of each raw array.
        patient_id: From the DICOM headers, or the study of the reader XML;
            None if unknown.
        kind: ``'scan'``; of a scan with inserted nodules ``'inserted'`` if
            they are real ones, ``'parametric'`` if not.
        made_of: Series uids and patients of the scan that nodules were
            inserted into, and of the inserted nodules.
    """

    series_uid: str
    subset: int | None
    geometry: Geometry
    source_geometry: Geometry
    spacing_mm: float
    nodules: list[CaseNodule]
    excluded: list[Annotation]
    lung_mask: str
    caveats: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    patient_id: str | None = None
    kind: str = 'scan'
    made_of: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Series uids and patients that a split must not separate."""
        return {self.series_uid, *self.made_of, self.patient_id or ''} - {''}


@dataclass(frozen=True)
class Detection:
    """One detected nodule.

    Attributes:
        center_mm: World centre (x, y, z), LPS.
        score: The final score, a probability.
        rpn_score: Probability of the region proposal network.
        rcnn_score: Probability of the false-positive reduction, None if off.
        size_mm: Box sides along the grid's (z, y, x) axes.
        mask_box: Integer edge box (6,) of ``mask`` in the case's voxels.
        mask: Boolean crop of shape ``mask_box``; None if not segmented.
        volume_mm3: Volume of the mask in mm3, None without one.
        mask_label: Its value in the label image, None without a mask.
        slice_number: Slice of the scan nearest to the centre, from 1 in the
            scan's own order; None if not looked up.
        instance_number: As the DICOM slice states it, else None.
        sop_instance_uid: Likewise.
        lung_side: ``'left'`` or ``'right'`` of the patient; None where the
            lungs are not known.
        lung_zone: ``'upper'``, ``'middle'`` or ``'lower'`` third of that
            lung's height in the scan.
    """

    center_mm: tuple[float, float, float]
    score: float
    rpn_score: float | None = None
    rcnn_score: float | None = None
    size_mm: tuple[float, float, float] | None = None
    mask_box: tuple[int, int, int, int, int, int] | None = None
    mask: np.ndarray | None = None
    volume_mm3: float | None = None
    mask_label: int | None = None
    slice_number: int | None = None
    instance_number: int | None = None
    sop_instance_uid: str | None = None
    lung_side: str | None = None
    lung_zone: str | None = None

    @property
    def diameter_mm(self) -> float | None:
        """Geometric mean of the box sides, None if there is no box."""
        if self.size_mm is None:
            return None
        return float(np.prod(self.size_mm)) ** (1 / 3)


@dataclass(frozen=True)
class Dropped:
    """Detections that a rule dropped.

    Attributes:
        rule: ``'score'``, ``'lungs'`` or ``'merge'``.
        limit: The rule's threshold: a probability, or mm.
        count: How many were dropped.
    """

    rule: str
    limit: float
    count: int


@dataclass(frozen=True)
class ModelInfo:
    """The network that a result came from.

    Attributes:
        name: Name of the release, or the class of a checkpoint's network.
        version: Version of the release; of a checkpoint the epochs that it
            trained.
        weights: File name.
        weights_sha256: Digest of that file.
        config_sha256: Digest of the network's config.
        window: HU that become the ends of the network's range.
        spacing_mm: Spacing of the prepared case in mm.
    """

    name: str
    version: str
    weights: str
    weights_sha256: str
    config_sha256: str
    window: tuple[float, float]
    spacing_mm: float


@dataclass(frozen=True)
class RunInfo:
    """When and how a result was computed.

    Attributes:
        created: ISO 8601, UTC.
        lungdet_version: Version that computed it.
        device: As torch names it.
        precision: ``'fp32'`` or ``'bf16'``.
        seconds: Wall time of each step.
        memory_format: Memory format of the network's maps, ``'contiguous'`` or
            ``'channels_last'``; None where the network has no choice.
        windows: How many of the case were computed, and how many it has; None
            where that is not known.
        backend: What computed the network: ``'torch'``, ``'onnxruntime'`` or
            ``'openvino'``.
    """

    created: str
    lungdet_version: str
    device: str
    precision: str
    seconds: Mapping[str, float]
    memory_format: str | None = None
    windows: tuple[int, int] | None = None
    backend: str = 'torch'


@dataclass(frozen=True)
class SeriesResult:
    """All detections of one series, by descending score.

    Attributes:
        series_uid: Identifier, always text.
        detections: Best first.
        geometry: Grid that ``mask_box`` and ``mask`` refer to.
        source_geometry: Grid of the scan as its file states it; None if it is
            ``geometry``.
        caveats: What anyone who uses the result must know.
        dropped: What each rule of a selection dropped; empty where none was
            applied.
        model: The network; None if the manifest of the run names it.
        run: How the inference ran, likewise.
        slices: The DICOM slices that the scan was read from, in order along
            their normal; empty for an image file, and for a result that was
            read from JSON.
        files: Names of the files beside the JSON, by format.
        source: Address on the server that the scan was fetched from; None of
            files.
    """

    series_uid: str
    detections: list[Detection]
    geometry: Geometry
    source_geometry: Geometry | None = None
    caveats: list[str] = field(default_factory=list)
    dropped: tuple[Dropped, ...] = ()
    model: ModelInfo | None = None
    run: RunInfo | None = None
    slices: tuple[SourceSlice, ...] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    source: str | None = None

    @property
    def scan_geometry(self) -> Geometry:
        """Grid of the scan as its file states it."""
        return self.source_geometry or self.geometry

    def numbered(self) -> Iterator[tuple[int, Detection]]:
        """Each detection with its number, from 1, the best first."""
        return enumerate(self.detections, start=1)

    def without_masks(self) -> SeriesResult:
        """The same detections with their boxes, but without their masks."""
        return replace(
            self,
            detections=[
                replace(detection, mask=None, mask_box=None)
                for detection in self.detections
            ],
        )
