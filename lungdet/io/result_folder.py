"""The files of one scan's result: JSON, marks, and a label image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.geometry import Geometry, resample_label_crop
from lungdet.io.atomic import check_writable, write_text
from lungdet.io.image import write_image
from lungdet.io.luna16 import write_submission
from lungdet.io.results import result_to_dict
from lungdet.structures import SeriesResult

RESULT, MARKS, MASKS = 'result.json', 'marks.csv', 'masks.nii.gz'
INTENDED_USE = 'Research use only.'
MAX_LABELS = 255  # of a uint8 image


def make_result_folder(path: str | Path) -> Path:
    """Create the folder for results if needed, and write to it.

    Raises:
        NotADirectoryError: A file is there.
        OSError: It cannot be written to.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f'{folder}: is a file, results need a folder; choose another name.'
        )
    return check_writable(folder, 'the results')


def write_result_folder(
    folder: Path,
    result: SeriesResult,
    *,
    model: dict[str, Any],
) -> None:
    """Write result.json, marks.csv and, if there are masks, masks.nii.gz.

    Files of these names from an earlier run are removed, even if not replaced.

    Args:
        folder: Exists.
        result: Of one scan; the label image is on the scan's grid as its file
            states it.
        model: Describes the weights, for result.json.
    """
    for name in (RESULT, MARKS, MASKS):
        (folder / name).unlink(missing_ok=True)
    scan = result.source_geometry or result.geometry
    labels = paint_masks(result, scan)
    mask_file = MASKS if labels.any() else None
    if mask_file is not None:
        write_image(folder / mask_file, labels, scan)
    content = {
        **result_to_dict(result, mask_file=mask_file),
        'model': model,
        'intended_use': INTENDED_USE,
    }
    write_text(folder / RESULT, json.dumps(content, indent=1))
    write_submission(folder / MARKS, [result])


def paint_masks(result: SeriesResult, grid: Geometry) -> np.ndarray:
    """Number the detections' masks on another grid, nearest voxel.

    Args:
        result: Detections with masks on ``result.geometry``.
        grid: Grid of the labels, such as the scan's.

    Returns:
        uint8 (z, y, x); k where detection k (from 1, best first) is; where two
        overlap, the better one is kept. Detections beyond 255 are not painted.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    numbered = list(enumerate(result.detections[:MAX_LABELS], start=1))
    for number, detection in reversed(numbered):
        if detection.mask is None or detection.mask_box is None:
            continue
        crop = result.geometry.crop(
            detection.mask_box[:3], detection.mask.shape
        )
        region, inside = resample_label_crop(detection.mask, crop, grid)
        labels[region][inside] = number
    return labels
