"""Peak memory of a process, as far as the system reports it."""

from __future__ import annotations

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak_gb(*, children: bool = False) -> float:
    """Peak of this process, or of the largest of its children that have ended.

    NaN if the system does not report it.
    """
    if resource is None:
        return float('nan')
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(who).ru_maxrss * unit / 1e9
