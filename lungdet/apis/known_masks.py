"""Masks among the files of a folder, which are no scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lungdet.apis.inference_record import RECORD
from lungdet.apis.scan_input import ScanInput
from lungdet.errors import counted
from lungdet.exporters.luna16 import MARKS
from lungdet.exporters.nifti import MASKS
from lungdet.io.results import RESULT
from lungdet.prepare.luna16 import LUNG_MASKS


def is_known_mask(path: Path) -> bool:
    """Whether a path is that of LUNA16's lung masks, or of a result's masks.

    ``masks.nii.gz`` is only known beside other files of a result, also of one
    that was not completed.
    """
    if path.name != MASKS:
        return path.name in (LUNG_MASKS, f'{LUNG_MASKS}.zip')
    return any((path.parent / n).exists() for n in (RECORD, RESULT, MARKS))


def without_lung_masks(
    scans: Sequence[ScanInput], lung_mask: Path | None
) -> tuple[list[ScanInput], list[str]]:
    """Scans without the images that are given as their lung masks, and a
    caveat about these.

    An image that is an input itself is a scan. So is every image if the masks
    lie in the input's very folder, or if there is no other scan.

    Args:
        scans: Scans of the inputs.
        lung_mask: A mask, or a folder of masks; None for none.
    """
    if lung_mask is None:
        return [*scans], []
    real = lung_mask.resolve()
    others = [scan for scan in scans if not _is_in(scan, real)]
    if not others or len(others) == len(scans):
        return [*scans], []
    images = counted(len(scans) - len(others), 'image')
    return others, [f'{images} given as lung masks']


def _is_in(scan: ScanInput, masks: Path) -> bool:
    """Whether an image of a folder is a mask, or lies in a folder of them."""
    if scan.path is None or scan.below is None or scan.below == masks:
        return False
    if scan.series_uid is not None or scan.member is not None:
        return False
    path = scan.path.resolve()
    return masks in (path, path.parent)
