"""Pictures of a prepared folder's nodules."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from lungdet.io.atomic import atomic_path, check_writable
from lungdet.io.case_store import CaseStore
from lungdet.report.figures import picture_sheet
from lungdet.report.pictures import nodule_picture


def write_nodule_pictures(
    root: str | Path, out: str | Path, *, limit: int | None = None
) -> tuple[int, int]:
    """Draw each nodule in three planes, with its box and its outline.

    Args:
        root: Folder with the cases.
        out: Folder for ``<series uid>_<nodule id>.png``; created if needed.
        limit: The largest number of pictures, None for all.

    Returns:
        Number of pictures, and number of nodules.

    Raises:
        FileNotFoundError: No prepared cases in ``root``.
        OSError: ``out`` cannot be written to.
    """
    store, out = CaseStore(root), check_writable(out, 'the pictures')
    nodules = [
        (record, nodule)
        for record in store.records.values()
        for nodule in record.nodules
    ]
    for record, nodule in tqdm(nodules[:limit], desc='pictures'):
        uid = record.series_uid
        masks = store.read(uid, 'mask') if store.has(uid, 'mask') else None
        picture = nodule_picture(
            store.read(uid, 'image'), record.geometry, nodule, masks
        )
        figure = picture_sheet([picture])
        with atomic_path(out / f'{uid}_{nodule.id}.png') as aside:
            figure.savefig(aside, dpi=110)
    return len(nodules[:limit]), len(nodules)
