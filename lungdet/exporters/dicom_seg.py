"""Masks as a DICOM SEG on the slices of the scan: one segment per nodule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput, label_of, name_of
from lungdet.exporters.dicom_source import (
    SliceMask,
    algorithm,
    lenient,
    masks_on_slices,
    read_headers,
    save,
    series_arguments,
)
from lungdet.structures import SeriesResult

SEG = 'seg.dcm'
RED, GREEN, BLUE = 255, 80, 60  # of an outline on grey; viewers warn of none


def write_dicom_seg(folder: Path, scan: ExportInput) -> list[str]:
    """Write the masks; nothing if none has a voxel on a slice."""
    result = scan.result
    masks = masks_on_slices(result)
    if not masks:
        return []
    save(folder / SEG, build_seg(result, masks))
    return [SEG]


def build_seg(result: SeriesResult, masks: Sequence[SliceMask]) -> Any:
    """The SEG of a result, a binary one, which every viewer reads.

    Segments are numbered from 1 without gaps, and a mask between two slices
    has none, so each names its detection in its tracking identifier. Where
    masks overlap, each segment keeps the voxels.

    Args:
        result: With source slices.
        masks: As returned by ``masks_on_slices``, not empty.
    """
    import highdicom as hd

    slices = sorted({one.slice_index for one in masks})
    numbers = sorted({one.number for one in masks})
    headers = read_headers([result.slices[k] for k in slices])
    _, rows, columns = result.slices[slices[0]].geometry.shape
    # zeros take no memory before they are written to; segment by segment, so
    # that few pages are
    segments = np.zeros((len(numbers), len(slices), rows, columns), bool)
    for one in masks:
        segment = segments[numbers.index(one.number)]
        segment[slices.index(one.slice_index)][one.region] = one.mask
    with lenient():
        return hd.seg.Segmentation(
            source_images=headers,
            pixel_array=np.moveaxis(segments, 0, -1),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, k, result)
                for number, k in enumerate(numbers, start=1)
            ],
            omit_empty_frames=True,
            **series_arguments(headers[0], result, 1, 'Segmentation'),
        )


def _segment(number: int, k: int, result: SeriesResult) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = algorithm(result)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label_of(k, result.detections[k - 1]),
        segmented_property_category=(
            codes.SCT.MorphologicallyAbnormalStructure
        ),
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=name,
            version=version,
            family=codes.DCM.ArtificialIntelligence,
        ),
        tracking_uid=hd.UID(),
        tracking_id=name_of(k),
        anatomic_regions=[codes.SCT.Lung],
        display_color=hd.color.CIELabColor.from_rgb(RED, GREEN, BLUE),
    )


def seg_caveats(result: SeriesResult) -> list[str]:
    """A mask that lies between two slices has no segment."""
    on_slices = {one.number for one in masks_on_slices(result)}
    between = [
        str(number)
        for number, detection in result.numbered()
        if detection.mask is not None and number not in on_slices
    ]
    if not between:
        return []
    return [
        f'the DICOM SEG has no segment of nodule {", ".join(between)}: no '
        'voxel of its mask is on a slice'
    ]


EXPORTER = Exporter(
    [SEG],
    write_dicom_seg,
    caveats=seg_caveats,
    library='highdicom',
    extra='dicom',
    needs_dicom=True,
)
