"""Results as text."""

from __future__ import annotations

from collections.abc import Mapping

from terminaltables import AsciiTable

from lungdet.evaluation.froc import FROCResult


def froc_table(
    results: Mapping[str, FROCResult],
    *,
    listed: int,
    intervals: Mapping[str, tuple[float, float] | None] | None = None,
) -> str:
    """One row a result: sensitivities at the rates, CPM, counts below.

    Args:
        results: Name of the row -> result; all of the same scans.
        listed: Scans that were listed for evaluation.
        intervals: Name -> 95 % interval of the CPM.
    """
    first = next(iter(results.values()))
    header = ['FP/scan', *(_rate(r) for r in first.rates), 'CPM', '95 %']
    rows = [header]
    missing: list[float | None] = [None] * len(first.rates)
    for name, result in results.items():
        interval = (intervals or {}).get(name)
        rows.append(
            [
                name,
                *(_digits(s) for s in result.sensitivities or missing),
                _digits(result.cpm),
                f'{interval[0]:.3f}-{interval[1]:.3f}' if interval else '-',
            ]
        )
    counts = first.counts
    lines = [
        AsciiTable(rows, 'sensitivity').table,
        f'{counts["scans"]} scans of {listed} listed, '
        f'{counts["nodules"]} nodules',
    ]
    for name, result in results.items():
        if result.cpm != result.cpm_step and result.cpm_step is not None:
            lines.append(
                f'{name}: a vertical step lies exactly at a rate; read at '
                f'its top the CPM is {result.cpm_step:.3f}'
            )
    return '\n'.join(lines)


def _rate(rate: float) -> str:
    return f'1/{round(1 / rate)}' if rate < 1 else f'{rate:g}'


def _digits(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'
