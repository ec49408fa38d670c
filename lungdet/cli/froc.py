"""``lungdet froc``: a submission's score by LUNA16's rule."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungdet.cli.options import non_negative_int
from lungdet.errors import ConfigError


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet froc``."""
    parser = commands.add_parser('froc', help=froc.__doc__)
    parser.add_argument(
        'submission', type=Path, help='csv of marks, or csv.gz'
    )
    add_reference_options(parser)
    add_rule_options(parser)
    add_statistics_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=froc)


def add_reference_options(parser: argparse.ArgumentParser) -> None:
    """What the marks are scored against."""
    group = parser.add_argument_group('reference, by default the official one')
    group.add_argument('--annotations', type=Path, help='csv of nodules')
    group.add_argument('--excluded', type=Path, help='csv of exclusions')
    group.add_argument(
        '--seriesuids', type=Path, help='scans: one uid per line, no header'
    )


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    """How the marks are scored."""
    group = parser.add_argument_group('rule')
    group.add_argument(
        '--read-out',
        choices=('interp', 'step', 'nearest', 'next'),
        default='interp',
        help='how the curve is read; interp is the official one',
    )
    group.add_argument(
        '--max-marks',
        type=non_negative_int,
        default=100,
        help='marks kept of each scan, 0 for all',
    )
    group.add_argument(
        '--candidates',
        nargs='?',
        const='',
        metavar='LIST',
        help='second track: the marks are given candidates, of LIST if named',
    )


def add_statistics_options(parser: argparse.ArgumentParser) -> None:
    """Intervals, comparisons and strata."""
    group = parser.add_argument_group('statistics')
    group.add_argument(
        '--bootstrap',
        type=non_negative_int,
        default=1000,
        help='resamples, 0 for none',
    )
    group.add_argument(
        '--seed',
        type=non_negative_int,
        default=0,
        help='of the resamples, default 0',
    )
    group.add_argument(
        '--compare',
        type=Path,
        nargs='+',
        default=[],
        help='other submissions, compared pair by pair with the first',
    )
    group.add_argument(
        '--strata',
        metavar='COLUMN',
        help='diameter, subset, or a column of --annotations or --scan-table',
    )
    group.add_argument(
        '--scan-table', type=Path, help='csv with seriesuid and more columns'
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """What is written besides the printed tables."""
    group = parser.add_argument_group('files to write')
    group.add_argument('--json', type=Path, help='all figures')
    group.add_argument('--plot', type=Path, help='curves: png, svg or pdf')
    group.add_argument(
        '--details',
        type=Path,
        metavar='DIR',
        help='tables by scan, nodule and false positive; calibration curve',
    )
    group.add_argument(
        '--cases', type=Path, help='prepared cases, for pictures in --details'
    )


def froc(args: argparse.Namespace) -> int:
    """Score a submission by LUNA16's rule."""
    from lungdet import evaluation
    from lungdet.report.evaluation_files import write_figure, write_report

    check_outputs(args)
    options = evaluation.EvaluationOptions(
        bootstrap=args.bootstrap,
        seed=args.seed,
        read_out=args.read_out,
        max_marks=args.max_marks or None,
    )
    reports = evaluate_files(args, options)
    first, *others = reports
    differences = evaluation.compare_reports(first, others, options)
    for report in reports:
        print(report.text(), end='\n\n')
    for other, difference in zip(others, differences):
        text = evaluation.difference_text(first, other, difference)
        print(text, end='\n\n')
    if args.json:
        write_report(args.json, reports, differences)
    if args.plot:
        write_figure(args.plot, reports)
    if args.details:
        write_details(first, args.details, args.cases)
    return 0


def check_outputs(args: argparse.Namespace) -> None:
    """Check the outputs before anything is scored.

    Raises:
        ConfigError: ``--cases`` without ``--details``, or a figure of an
            unknown kind, a folder where a file is written, or a file where
            a folder is.
    """
    from lungdet.report.evaluation_files import check_figure

    if args.cases and not args.details:
        raise ConfigError(
            '--cases: pictures go into --details DIR; name it too.'
        )
    for option in ('json', 'plot'):
        path = getattr(args, option)
        if path is not None and path.is_dir():
            raise ConfigError(
                f'--{option} {path}: is a folder; name a file in it.'
            )
    if args.details is not None and args.details.is_file():
        raise ConfigError(
            f'--details {args.details}: is a file; name a folder.'
        )
    if args.plot:
        check_figure(args.plot)


def evaluate_files(args: argparse.Namespace, options: Any) -> list[Any]:
    """Reports of the submission and of those it is compared with."""
    from lungdet.apis import evaluate
    from lungdet.evaluation import evaluate_submission

    files = input_files(args)
    reference = evaluate.load_reference(
        files.get(args.annotations),
        files.get(args.excluded),
        files.get(args.seriesuids),
    )
    grouping = None
    if args.strata:
        grouping = evaluate.load_grouping(
            args.strata,
            reference,
            annotations=files.get(args.annotations),
            scan_table=files.get(args.scan_table),
        )
    tables = [files[path] for path in (args.submission, *args.compare)]
    submissions = evaluate.load_submissions(tables, reference)
    return [
        evaluate_submission(
            submission,
            reference,
            options,
            grouping=grouping,
            candidates=given_candidates(args.candidates, table, files),
        )
        for table, submission in zip(tables, submissions)
    ]


def input_files(args: argparse.Namespace) -> dict[Path, Any]:
    """Every named file by its path; each is read once.

    A pipe such as the shell's ``<(...)`` can be read only once.
    """
    from lungdet.io.table_file import TableFile

    paths = [
        args.submission,
        *args.compare,
        args.annotations,
        args.excluded,
        args.seriesuids,
        args.scan_table,
    ]
    if args.candidates:
        paths.append(Path(args.candidates))
    return {path: TableFile(path) for path in paths if path is not None}


def given_candidates(
    option: str | None, submission: Any, files: Mapping[Path, Any]
) -> Any:
    """Centres of ``--candidates LIST``, or of the submission itself."""
    from lungdet.io.luna16 import read_candidates

    if option is None:
        return None
    return read_candidates(files[Path(option)] if option else submission)


def write_details(report: Any, folder: Path, cases: Path | None) -> None:
    """Tables and pictures; drawing is loaded for them alone."""
    from lungdet.apis import details
    from lungdet.io.case_store import CaseStore

    store = CaseStore(cases) if cases else None
    for path in details.write_details(report, folder, store=store):
        print(f'written: {path}')
