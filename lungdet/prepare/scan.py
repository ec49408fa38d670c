"""Processing of one scan, from its file to its case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lungdet.io.case_store import check_uid, write_case
from lungdet.io.image import load_volume
from lungdet.prepare.case import prepare_case
from lungdet.prepare.given_lungs import lungs_of_scan
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.structures import Volume


def prepare_scan(task: ScanTask, out: Path, spacing_mm: float) -> None:
    """Read a scan, find its lungs and nodules, and store its case.

    Args:
        task: The scan.
        out: Folder of the case store.
        spacing_mm: Isotropic spacing of the case.

    Raises:
        LungdetError: A scan, mask or reference that cannot be used; says
            file and reason.
        OSError: A file that cannot be read or written.
    """
    check_uid(task.uid)  # raises before minutes of work
    volume = load_scan(task)
    references = task.references.read(volume)
    lungs = lungs_of_scan(task.lung_mask, volume)
    record, arrays = prepare_case(
        volume,
        lungs,
        references,
        excluded=task.excluded,
        spacing_mm=spacing_mm,
        subset=task.source.subset,
    )
    record = replace(record, settings=case_settings(task, spacing_mm))
    write_case(out, record, arrays)


def load_scan(task: ScanTask) -> Volume:
    """The volume, with the uid and the caveats of its source."""
    source = task.source
    volume = load_volume(
        source.path,
        series_uid=source.uid if source.is_series else None,
        hu_offset=task.hu_offset,
    )
    caveats = [*volume.caveats, *source.caveats]
    return replace(volume, series_uid=source.uid, caveats=caveats)
