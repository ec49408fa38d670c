"""Memory of a process: its peak and a limit, if the system supports them."""

from __future__ import annotations

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak_gb(*, children: bool = False) -> float:
    """Peak memory of this process in GB; NaN if the system does not report it.

    Args:
        children: Instead return the largest peak of the child processes that
            have ended.
    """
    if resource is None:
        return float('nan')
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(who).ru_maxrss * unit / 1e9


def limit_gb(most: float) -> None:
    """Limit the address space of this process, if the system supports it.

    Args:
        most: Limit in GB; allocations beyond it fail.
    """
    if resource is not None:
        num_bytes = int(most * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
