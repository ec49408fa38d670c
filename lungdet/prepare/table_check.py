"""Checking a table against a few scans before all of them are prepared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.special import bdtr

from lungdet.errors import AnnotationError
from lungdet.prepare.official import is_official
from lungdet.prepare.positions import count_fits
from lungdet.prepare.scan import load_scan
from lungdet.prepare.task import ScanTask

MAX_SCANS = 4  # to read: those with the most rows
ENOUGH = 12  # rows
LIKE = 0.97  # fraction of right rows that lie on something like a nodule
WRONG, DOUBTFUL = 1e-3, 0.05  # probability of so few if the table is right
FITTING = 0.05  # the same of another reading


def check_positions(tasks: Sequence[ScanTask]) -> list[str]:
    """Compare the rows of tables with the voxels of a few scans.

    Rows of LUNA16's own tables, and masks, are not checked.

    Args:
        tasks: Scans that are about to be prepared.

    Returns:
        A caveat if rows lie on nothing like a nodule.

    Raises:
        AnnotationError: The rows cannot be right, but would be in another
            frame.
    """
    rows, fits = 0, 0
    others: Counter[str] = Counter()
    scans = []
    for task in _with_most_rows(tasks):
        try:
            volume = load_scan(task)
        except Exception:  # reported when it is prepared
            continue
        tried, as_given, by_reading = count_fits(
            volume, task.references.table_rows()
        )
        rows, fits = rows + tried, fits + as_given
        others.update(by_reading)
        scans.append(task.uid)
        if rows >= ENOUGH or len(scans) == MAX_SCANS:
            break
    return _judged(rows, fits, others, scans)


def _with_most_rows(tasks: Sequence[ScanTask]) -> list[ScanTask]:
    tabled = [
        task
        for task in tasks
        if task.references.table_rows()
        and not is_official(task.uid, task.references.table_rows())
    ]
    return sorted(tabled, key=lambda task: -len(task.references.table_rows()))


def _judged(
    rows: int, fits: int, others: Counter[str], scans: Sequence[str]
) -> list[str]:
    doubt = bdtr(fits, rows, LIKE) if rows else 1.0
    if doubt > DOUBTFUL:
        return []
    text = (
        f'annotations: only {fits} of {rows} centres in {len(scans)} scans '
        f'(such as {scans[0]}) lie on something like a nodule'
    )
    best = max(others.values())
    fitting = [name for name, number in others.items() if number == best]
    if best <= fits or bdtr(best, rows, LIKE) < FITTING:
        return [
            f'{text}, and no usual mistake explains it; check that scans and '
            'table belong together'
        ]
    text += f', but {best} read as {" or as ".join(fitting)}'
    if doubt > WRONG:
        return [f'{text}; world mm x, y, z in LPS are needed']
    raise AnnotationError(
        f'{text}; world mm x, y, z in LPS are needed. Correct the table.'
    )
