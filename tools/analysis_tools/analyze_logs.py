"""Training curves of runs, and the steps that each needed to a loss."""

from __future__ import annotations

import argparse
from pathlib import Path

from terminaltables import AsciiTable

from lungdet.cli import clean_errors, positive_int
from lungdet.report.curves import Curve, curve_figure, read_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', help='work folders of trainings')
    parser.add_argument('--key', default='loss', help='logged value')
    parser.add_argument(
        '--below', type=float, nargs='+', default=[], help='values to reach'
    )
    parser.add_argument(
        '--window', type=positive_int, default=5, help='records to average'
    )
    parser.add_argument('--out', type=Path, help='picture of the curves')
    args = parser.parse_args()
    with clean_errors('analyze_logs.py'):
        curves = {
            run: read_curve(run, args.key).smoothed(args.window)
            for run in args.runs
        }
        if args.out:
            curve_figure(curves, args.key, args.below).savefig(
                args.out, dpi=150
            )
    print(table(curves, args.key, args.below))


def table(curves: dict[str, Curve], key: str, levels: list[float]) -> str:
    """Last value and steps to each level, a line a run."""
    rows = [['run', 'steps', f'last {key}', *(f'to {x:g}' for x in levels)]]
    for run, curve in curves.items():
        reached = [curve.steps_to(level) for level in levels]
        rows.append(
            [
                run,
                str(curve.steps[-1]),
                f'{curve.values[-1]:.4g}',
                *('-' if step is None else str(step) for step in reached),
            ]
        )
    return AsciiTable(rows).table


if __name__ == '__main__':
    main()
