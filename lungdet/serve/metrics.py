"""Metrics of the server in the Prometheus text format.

Source: prometheus.io, Exposition formats, text format 0.0.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
LabelledValue = tuple[Mapping[str, str], float]


@dataclass(eq=False)
class Counts:
    """Counters since the server started.

    Attributes:
        received: Number of accepted scans.
        received_bytes: Size of their files.
        refused: Number of refused requests, by HTTP status.
    """

    received: int = 0
    received_bytes: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def receive(self, size: int) -> None:
        """Count an accepted scan."""
        with self._lock:
            self.received += 1
            self.received_bytes += size

    def refuse(self, status: int) -> None:
        """Count a refused request."""
        with self._lock:
            self.refused[status] += 1


def family(
    name: str, kind: str, text: str, samples: Iterable[LabelledValue]
) -> str:
    """One metric with its samples.

    Args:
        name: Name without the prefix ``lungdet_``.
        kind: ``'gauge'`` or ``'counter'``.
        text: Description of the metric.
        samples: Labels and value of each.

    Examples:
        >>> print(family('jobs', 'gauge', 'Jobs.', [({'state': 'done'}, 2)]))
        # HELP lungdet_jobs Jobs.
        # TYPE lungdet_jobs gauge
        lungdet_jobs{state="done"} 2
    """
    lines = [
        f'# HELP lungdet_{name} {text}',
        f'# TYPE lungdet_{name} {kind}',
    ]
    for labels, value in samples:
        inner = ','.join(f'{k}="{_escaped(v)}"' for k, v in labels.items())
        lines.append(
            f'lungdet_{name}{{{inner}}} {value:.17g}'
            if inner
            else f'lungdet_{name} {value:.17g}'
        )
    return '\n'.join(lines)


def _escaped(value: str) -> str:
    return value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')
