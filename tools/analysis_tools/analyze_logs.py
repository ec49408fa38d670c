"""Training curves of runs, and the steps that each needed to reach a loss."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.cli import clean_errors, positive_int
from lungdet.io.atomic import atomic_path
from lungdet.report.evaluation_files import check_figure
from lungdet.report.training_curves import (
    read_training_curve,
    training_figure,
    training_table,
)


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
        if args.out:
            check_figure(args.out)
        curves = {
            run: read_training_curve(run, args.key).smoothed(args.window)
            for run in args.runs
        }
        if args.out:
            figure = training_figure(curves, args.key, args.below)
            with atomic_path(args.out) as aside:
                figure.savefig(aside, dpi=150)
        print(training_table(curves, args.key, args.below))


if __name__ == '__main__':
    main()
