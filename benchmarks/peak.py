"""Memory of a process: its peak and its limit, where the system has them."""

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


def limit_gb(most: float) -> None:
    """Refuse this process more address space, where the system can.

    Args:
        most: Gigabytes; what asks for more gets an error.
    """
    if resource is not None:
        num_bytes = int(most * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
