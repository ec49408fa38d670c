"""Lung masks that a user gives for the scans of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lungdet.apis.scan_input import ScanInput
from lungdet.errors import ConfigError
from lungdet.io.files import is_litter
from lungdet.io.image import SUFFIXES, stem


def with_lung_masks(
    scans: list[ScanInput], lung_mask: Path | None
) -> list[ScanInput]:
    """Scans with the masks that one file or a folder gives them.

    Args:
        scans: The scans of a run.
        lung_mask: A mask of the only scan, or a folder of masks named
            ``<uid>.*``; None for no masks.

    Raises:
        ConfigError: One mask for several scans, or no mask of any.
        FileNotFoundError: It is not there.
    """
    if lung_mask is None:
        return scans
    if not lung_mask.exists():
        raise FileNotFoundError(f'{lung_mask}: not there; check the path.')
    if not lung_mask.is_dir():
        if len(scans) > 1:
            raise ConfigError(
                f'lung mask: {lung_mask} is one file, but there are '
                f'{len(scans)} scans; give a folder with one mask a scan, '
                'named by its series uid.'
            )
        return [replace(scan, lung_mask=lung_mask) for scan in scans]
    scan_files = {scan.inner_path.resolve() for scan in scans}
    masks = {
        stem(file): file
        for file in sorted(lung_mask.iterdir())
        if file.name.lower().endswith(SUFFIXES)
        and not is_litter(file)
        and file.resolve() not in scan_files  # in the scans' own folder
    }
    if not masks.keys() & {scan.uid for scan in scans}:
        raise ConfigError(
            f'lung mask: {lung_mask} has none that is named like a scan, such '
            f'as {scans[0].uid}; rename the masks.'
        )
    return [_with_mask(scan, masks.get(scan.uid)) for scan in scans]


def _with_mask(scan: ScanInput, mask: Path | None) -> ScanInput:
    if mask is None:
        missing = 'no lung mask is named like it; the lungs were searched'
        return replace(scan, caveats=(*scan.caveats, missing))
    return replace(scan, lung_mask=mask)
