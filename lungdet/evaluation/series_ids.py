"""Series ids that lost characters in spreadsheet programs."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

LOST_END = re.compile(r'[0-9.]{3,}')  # missing at an id's end
MIN_PREFIX = 8  # shortest truncated id that is recognised


def mangled_ids(uids: Iterable[str], listed: Iterable[str]) -> dict[str, str]:
    """Unlisted ids that are listed ones with digits lost.

    Recognised are dropped leading zeros, an appended ``.0``, and a truncated
    end of a long id.

    Args:
        uids: Ids of a table.
        listed: Ids of the scan list.

    Returns:
        Mangled id -> the listed id it was.

    Examples:
        >>> mangled_ids(['7', '12.0', '1.2.840.113'], ['007', '12', '13'])
        {'7': '007', '12.0': '12'}
    """
    ordered = sorted(set(listed))
    known = set(ordered)
    bare = {_bare(uid): uid for uid in ordered}
    mangled = {}
    for uid in dict.fromkeys(uids):
        if uid in known:
            continue
        if _bare(uid) in bare:
            mangled[uid] = bare[_bare(uid)]
            continue
        position = bisect_left(ordered, uid)
        if len(uid) >= MIN_PREFIX and position < len(ordered):
            longer = ordered[position]
            # scan 1 next to scan 15 lost nothing, nor scan_1 next to
            # scan_1_repeat
            lost = longer.removeprefix(uid)
            if longer.startswith(uid) and LOST_END.fullmatch(lost):
                mangled[uid] = longer
    return mangled


def _bare(uid: str) -> str:
    """An id without what spreadsheets add or remove."""
    if re.fullmatch(r'\d+\.0+', uid):
        uid = uid.split('.')[0]
    return '.'.join(part.lstrip('0') or '0' for part in uid.split('.'))
