"""The table of an ablation study, as text, CSV, JSON and figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from lungdet.apis.published_rows import PublishedTable, published_table
from lungdet.evaluation import (
    RATES,
    Bootstrap,
    Difference,
    EvaluationOptions,
    EvaluationReport,
    FROCResult,
    bootstrap_froc,
    paired_bootstrap,
    rate_name,
)
from lungdet.evaluation.bootstrap import Interval
from lungdet.evaluation.scan_lists import check_intervals
from lungdet.io.atomic import atomic_path, write_text
from lungdet.report.ablation_figure import ablation_figure

Bounds = tuple[float | None, float | None]
DEFAULT_OPTIONS = EvaluationOptions()
UNKNOWN: Bounds = (None, None)


@dataclass(frozen=True)
class AblationRow:
    """The results of one config with all seeds.

    Attributes:
        name: Name of the config.
        seeds: The report of each seed, with its folds pooled.
        parameters: Number of parameters of the model.
        hours: CPU or GPU hours of training and pre-training, summed over
            seeds and folds.
        unit: Unit of the hours, ``'CPU'``, ``'GPU'``, or ``'CPU+GPU'`` if some
            runs took one and some the other.
        intervals: Confidence intervals of the mean over the seeds.
        difference: Mean over the seeds minus that of the first row; None for
            the first row.
    """

    name: str
    seeds: tuple[EvaluationReport, ...]
    parameters: int
    hours: float
    unit: str
    intervals: Bootstrap | None
    difference: Difference | None

    @property
    def results(self) -> list[FROCResult]:
        """FROC result of each seed, by the final score."""
        return [report.result for report in self.seeds]

    @property
    def sensitivities(self) -> list[float]:
        """Mean sensitivity over the seeds at each rate."""
        values = [result.sensitivities or [] for result in self.results]
        return np.mean(values, axis=0).tolist()

    @property
    def cpms(self) -> list[float]:
        """CPM of each seed."""
        return [result.cpm or 0.0 for result in self.results]

    @property
    def cpm(self) -> float:
        """Mean CPM over the seeds."""
        return float(np.mean(self.cpms))

    @property
    def caveats(self) -> list[str]:
        """Caveats of the row, such as test scans that were trained on."""
        return sorted({c for report in self.seeds for c in report.run_caveats})


def compared_row(
    name: str,
    seeds: Sequence[EvaluationReport],
    first: AblationRow | None,
    *,
    parameters: int,
    hours: float,
    unit: str,
    options: EvaluationOptions = DEFAULT_OPTIONS,
) -> AblationRow:
    """A row with its intervals and its difference from the first row.

    Args:
        name: Name of the config.
        seeds: The report of each seed, with its folds pooled.
        first: The row to compare with; None for the first row itself.
        parameters: Number of parameters of the model.
        hours: CPU or GPU hours of training and pre-training.
        unit: Unit of the hours.
        options: Resamples and seed of the intervals.
    """
    results = [report.result for report in seeds]
    resampling = {'resamples': options.bootstrap, 'seed': options.seed}
    return AblationRow(
        name,
        tuple(seeds),
        parameters,
        hours,
        unit,
        bootstrap_froc(results, **resampling),
        paired_bootstrap(results, first.results, **resampling)
        if first
        else None,
    )


@dataclass(frozen=True)
class AblationTable:
    """All rows, tested on the same scans.

    Attributes:
        rows: The rows, in the order of the configs.
    """

    rows: tuple[AblationRow, ...]

    @property
    def caveats(self) -> list[str]:
        """Caveats of the scans, which all rows share, then those of each row,
        preceded by its name."""
        first = self.rows[0]
        of_scans = check_intervals(first.results[0].nodules_by_scan, {})
        return [
            *(caveat.text for caveat in of_scans if first.intervals),
            *(
                f'{row.name}: {text}'
                for row in self.rows
                for text in row.caveats
            ),
        ]

    def text(self) -> str:
        """The tables as text: these rows, then the published ones."""
        first = self.rows[0]
        curve, listed = first.results[0].curve, first.seeds[0].num_listed
        published = published_table()
        return '\n'.join(
            [
                _sensitivity_table(self.rows),
                f'{curve.scans} scans of {listed} listed, '
                f'{curve.nodules} nodules, {len(first.seeds)} seeds; '
                'below each value its 95 % interval, from resampled scans, '
                'averaged over the seeds',
                *self.caveats,
                _cost_table(self.rows),
                _published_text(published),
                published.protocol,
            ]
        )

    def cells(self) -> list[list[str]]:
        """The cells of the CSV: a header and one line per row."""
        header = [
            'row',
            *map(rate_name, RATES),
            *('CPM', 'lower', 'upper'),
            *('difference', 'difference_lower', 'difference_upper', 'p'),
            *('seeds', 'CPM_of_seeds', 'parameters', 'hours'),
            *(
                f'{rate_name(rate)}_{bound}'
                for rate in RATES
                for bound in ('lower', 'upper')
            ),
            'caveats',
        ]
        return [header, *(_csv_cells(row) for row in self.rows)]

    def write(self, out: str | Path) -> None:
        """Write ablation.csv, .txt, .json and .png into a folder."""
        out = Path(out)
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows(self.cells())
        write_text(out / 'ablation.csv', text.getvalue())
        write_text(out / 'ablation.txt', self.text() + '\n')
        content = {
            row.name: [report.to_dict() for report in row.seeds]
            for row in self.rows
        }
        write_text(out / 'ablation.json', json.dumps(content, indent=1))
        figure = ablation_figure(
            {row.name: row.cpms for row in self.rows},
            {row.name: _cpm_interval(row) for row in self.rows},
            caveats=self.caveats,
        )
        with atomic_path(out / 'ablation.png') as aside:
            figure.savefig(aside, dpi=150)


def _sensitivity_table(rows: Iterable[AblationRow]) -> str:
    """Values above their intervals, and the difference from the first row."""
    table = [['row', *map(rate_name, RATES), 'CPM', 'to first']]
    for row in rows:
        cells = [f'{value:.3f}' for value in (*row.sensitivities, row.cpm)]
        if row.intervals:
            intervals = [*row.intervals.sensitivities, row.intervals.cpm]
            cells = [
                f'{cell}\n{low:.2f}-{high:.2f}'
                for cell, (low, high) in zip(cells, intervals)
            ]
        to_first = '-'
        if row.difference:
            low, high = row.difference.cpm_interval
            to_first = f'{row.difference.cpm:+.3f}\n{low:+.3f} to {high:+.3f}'
        table.append([row.name, *cells, to_first])
    return AsciiTable(table, 'sensitivity').table


def _cost_table(rows: Iterable[AblationRow]) -> str:
    table = [['row', 'parameters', 'training hours', 'CPM of each seed']]
    for row in rows:
        hours = f'{row.hours:.2f} {row.unit}-h'
        cpms = ' '.join(f'{cpm:.3f}' for cpm in row.cpms)
        table.append([row.name, f'{row.parameters:,}', hours, cpms])
    return AsciiTable(table, 'cost').table


def _published_text(published: PublishedTable) -> str:
    table = [['row', *map(rate_name, RATES), 'CPM']]
    for row in published.rows:
        values = (*row.sensitivities, row.cpm)
        table.append([row.name, *(f'{value:.3f}' for value in values)])
    return AsciiTable(table, 'published').table


def _csv_cells(row: AblationRow) -> list[str]:
    cpm_interval = _cpm_interval(row) or UNKNOWN
    intervals: Sequence[Bounds] = [UNKNOWN] * len(RATES)
    difference: list[float | None] = [None] * 4
    if row.intervals:
        intervals = row.intervals.sensitivities
    if row.difference:
        difference = [
            row.difference.cpm,
            *row.difference.cpm_interval,
            row.difference.cpm_p,
        ]
    values = [*row.sensitivities, row.cpm, *cpm_interval, *difference]
    return [
        row.name,
        *map(_csv_number, values),
        str(len(row.seeds)),
        ' '.join(f'{cpm:.4f}' for cpm in row.cpms),
        str(row.parameters),
        f'{row.hours:.3f} {row.unit}',
        *(_csv_number(bound) for bounds in intervals for bound in bounds),
        '; '.join(row.caveats),
    ]


def _cpm_interval(row: AblationRow) -> Interval | None:
    return row.intervals.cpm if row.intervals else None


def _csv_number(value: float | None) -> str:
    return '' if value is None else f'{value:.4f}'
