"""Results as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from terminaltables import AsciiTable

from lungdet.evaluation.bootstrap import Bootstrap, Difference
from lungdet.evaluation.froc import FROCResult, mean_sensitivity


def froc_table(
    results: Mapping[str, FROCResult],
    *,
    listed: int,
    bootstraps: Mapping[str, Bootstrap | None] | None = None,
) -> str:
    """Sensitivities at the rates and CPM of each result.

    Below each row are its 95 % bounds, both readings if a vertical step lies
    exactly at a rate, and the lowest score to keep for at most that many false
    positives. Rows with different scans or nodules show their numbers.

    Args:
        results: Name of the row -> result; the first one is the whole.
        listed: Scans that were listed for evaluation.
        bootstraps: Name -> 95 % intervals.
    """
    first = next(iter(results.values()))
    sizes = {(r.curve.scans, r.curve.nodules) for r in results.values()}
    header = ['FP/scan', *map(rate_name, first.rates), 'CPM']
    rows = [header + ['scans', 'nodules'] * (len(sizes) > 1)]
    for name, result in results.items():
        block = _block(name, result, (bootstraps or {}).get(name))
        if result is first or result.thresholds != first.thresholds:
            block.append(_scores(result))
        if len(sizes) > 1:
            block[0] += [str(result.curve.scans), str(result.curve.nodules)]
            block[1:] = [row + ['', ''] for row in block[1:]]
        rows += block
    return '\n'.join(
        [AsciiTable(rows, 'sensitivity').table, counts_line(first, listed)]
    )


def _block(
    name: str, result: FROCResult, bounds: Bootstrap | None
) -> list[list[str]]:
    """Rows of one result."""
    rows = [[name, *reading_cells(result)]]
    if bounds is not None:
        pairs = [*bounds.sensitivities, bounds.cpm]
        rows += [
            ['  lower bound', *(_digits(low) for low, _ in pairs)],
            ['  upper bound', *(_digits(high) for _, high in pairs)],
        ]
    if result.step_at_rate:
        rows += [
            [f'  by {other}', *reading_cells(result, other)]
            for other in ('interp', 'step')
            if other != result.read_out
        ]
    return rows


def _scores(result: FROCResult) -> list[str]:
    scores = ['-' if t is None else f'{t:.4g}' for t in result.thresholds]
    return ['  score', *scores, '']


def counts_line(result: FROCResult, listed: int) -> str:
    """The scans and nodules of a table."""
    return (
        f'{result.curve.scans} scans of {listed} listed, '
        f'{result.curve.nodules} nodules'
    )


def difference_table(difference: Difference, rates: Sequence[float]) -> str:
    """Paired difference at each rate and of the CPM, interval and p."""
    pairs = [*difference.intervals, difference.cpm_interval]
    rows = [
        ['FP/scan', *map(rate_name, rates), 'CPM'],
        [
            'difference',
            *(f'{d:+.3f}' for d in difference.sensitivities),
            f'{difference.cpm:+.3f}',
        ],
        ['  lower bound', *(f'{low:+.3f}' for low, _ in pairs)],
        ['  upper bound', *(f'{high:+.3f}' for _, high in pairs)],
        ['  p', *(f'{p:.3f}' for p in [*difference.p, difference.cpm_p])],
    ]
    return AsciiTable(rows, 'paired difference').table


def mask_table(
    masks: Mapping[str, Mapping[str, tuple[float, int]]],
) -> str:
    """One row per scope: means of the measures, and their number.

    A mean over fewer values than the others (a distance needs both masks)
    shows their number.

    Args:
        masks: Scope -> measure -> mean and number of values.
    """
    measures = list(dict.fromkeys(m for row in masks.values() for m in row))
    rows = [['masks', *measures, 'of']]
    for scope, means in masks.items():
        number = max(n for _, n in means.values())
        cells = []
        for mean, n in (means.get(m, (None, number)) for m in measures):
            cells.append(_digits(mean) + f' ({n})' * (n < number))
        rows.append([scope, *cells, str(number)])
    return AsciiTable(rows).table


def rate_name(rate: float) -> str:
    """A rate as it is printed.

    Examples:
        >>> rate_name(0.125), rate_name(4.0)
        ('1/8', '4')
    """
    return f'1/{round(1 / rate)}' if rate < 1 else f'{rate:g}'


def reading_cells(
    result: FROCResult, read_out: str | None = None
) -> list[str]:
    """Sensitivity at each rate and CPM; ``-`` without nodules.

    Args:
        result: Result.
        read_out: A name of ``READ_OUTS``; by default the result's.
    """
    read = result.read(read_out or result.read_out)
    missing: list[float | None] = [None] * len(result.rates)
    values = [*(read or missing), mean_sensitivity(read)]
    return [_digits(value) for value in values]


def _digits(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'
