"""``lungdet froc``: a submission's score by LUNA16's rule."""

from __future__ import annotations

import argparse
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
    from lungdet.apis.score_submissions import (
        SubmissionInputs,
        score_submissions,
    )
    from lungdet.evaluation import EvaluationOptions
    from lungdet.report.evaluation_files import write_figure, write_report

    check_outputs(args)
    scored = score_submissions(
        SubmissionInputs(
            args.submission,
            args.compare,
            args.annotations,
            args.excluded,
            args.seriesuids,
            args.strata,
            args.scan_table,
            candidates=Path(args.candidates) if args.candidates else None,
            marks_are_candidates=args.candidates == '',
        ),
        EvaluationOptions(
            bootstrap=args.bootstrap,
            seed=args.seed,
            read_out=args.read_out,
            max_marks=args.max_marks or None,
        ),
    )
    print(scored.text(), end='\n\n')
    if args.json:
        write_report(args.json, scored.reports, scored.differences)
    if args.plot:
        write_figure(args.plot, scored.reports)
    if args.details:
        print_details(scored.reports[0], args.details, args.cases)
    return 0


def check_outputs(args: argparse.Namespace) -> None:
    """Check the outputs before anything is scored.

    Raises:
        ConfigError: ``--cases`` without ``--details``, ``--scan-table``
            without ``--strata`` of its columns, a figure of an unknown kind,
            an output in place of an input or of another output, a folder
            where a file is written, or a file where a folder is.
        OSError: A folder that cannot be written to, or a device as a file.
    """
    from lungdet.io.atomic import check_replaceable, check_writable
    from lungdet.report.evaluation_files import check_figure

    if args.cases and not args.details:
        raise ConfigError(
            '--cases: pictures go into --details DIR; name it too.'
        )
    if args.scan_table and args.strata in (None, '', 'diameter'):
        raise ConfigError(
            f'--scan-table {args.scan_table}: is read for strata only; name '
            'one of its columns by --strata COLUMN too.'
        )
    for option, path in (('json', args.json), ('plot', args.plot)):
        if path is not None and path.is_dir():
            raise ConfigError(
                f'--{option} {path}: is a folder; name a file in it.'
            )
        if path is not None:
            check_replaceable(path)
            check_writable(path.parent, f'the file of --{option}')
            _refuse_overwriting(args, option, path)
    if args.plot:
        check_figure(args.plot)
    if args.details is not None:
        if args.details.is_file():
            raise ConfigError(
                f'--details {args.details}: is a file; name a folder.'
            )
        check_writable(args.details, 'the tables of --details')


def _refuse_overwriting(
    args: argparse.Namespace, option: str, path: Path
) -> None:
    """Refuse an output in place of an input or of the other output."""
    inputs = [
        args.submission,
        *args.compare,
        args.annotations,
        args.excluded,
        args.seriesuids,
        args.scan_table,
        args.candidates,
    ]
    other = args.plot if option == 'json' else args.json
    taken = {Path(used).resolve() for used in [*inputs, other] if used}
    if path.resolve() in taken:
        raise ConfigError(
            f'--{option} {path}: would overwrite a file that is read or '
            'written here; choose another name.'
        )


def print_details(report: Any, folder: Path, cases: Path | None) -> None:
    """Write tables and pictures, and name them; draws only if asked."""
    from lungdet.apis import details
    from lungdet.io.case_store import CaseStore

    store = CaseStore(cases) if cases else None
    for path in details.write_details(report, folder, store=store):
        print(f'written: {path}')
