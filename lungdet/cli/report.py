"""``lungdet report``: results as HTML pages."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.errors import ConfigError, printable
from lungdet.report.html import PAGE, VIEWERS

SUFFIX = '.html'
OF_SCANS = ('scan', 'annotations', 'excluded', 'viewer', 'hu_offset')
OF_RUNS = ('cases', 'strata')


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet report``."""
    parser = commands.add_parser('report', help=report.__doc__)
    parser.add_argument(
        'results',
        type=Path,
        nargs='*',
        metavar='RESULT',
        help='result.json of lungdet infer, or its folder',
    )
    parser.add_argument(
        '--froc',
        type=Path,
        nargs='+',
        metavar='DIR',
        help='instead: folders of tools/test.py --out, overlaid',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help=f'the page, by default {PAGE} beside the (first) result; a '
        'folder for several results',
    )
    group = parser.add_argument_group('of scans')
    group.add_argument(
        '--scan',
        type=Path,
        nargs='+',
        default=[],
        help='image file or DICOM folder of each result, for the pictures',
    )
    group.add_argument('--annotations', type=Path, help='csv of nodules')
    group.add_argument('--excluded', type=Path, help='csv of exclusions')
    group.add_argument(
        '--viewer',
        choices=VIEWERS,
        help='add the whole volume, in three planes and rendered',
    )
    group.add_argument(
        '--hu-offset',
        type=int,
        metavar='HU',
        help='of a stored 0, if the scan lacks it (default: that of lungdet '
        'infer)',
    )
    group = parser.add_argument_group('of tested runs')
    group.add_argument(
        '--cases', type=Path, help='prepared cases: reference and pictures'
    )
    group.add_argument(
        '--strata',
        metavar='COLUMN',
        help='of the prepared cases, to group by (default: diameter)',
    )
    parser.set_defaults(run=report)


def report(args: argparse.Namespace) -> int:
    """Write results as self-contained HTML pages."""
    check_options(args)
    if args.froc:
        from lungdet.apis.reports import write_run_report

        out = args.out or args.froc[0] / PAGE
        write_run_report(out, args.froc, cases=args.cases, strata=args.strata)
        print(printable(f'report: {out}'))
        return 0
    from lungdet.apis.reports import write_scan_report

    scans = args.scan or [None] * len(args.results)
    for result, scan, out in zip(args.results, scans, pages_of(args)):
        write_scan_report(
            out,
            result,
            scan=scan,
            annotations=args.annotations,
            excluded=args.excluded,
            viewer=args.viewer,
            hu_offset=args.hu_offset,
        )
        print(printable(f'report: {out}'))
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together, or would do nothing.

    Raises:
        ConfigError: Neither or both of results and runs, options of the
            other, another number of scans than of results, a viewer or an
            offset without a scan, or strata without cases.
    """
    if bool(args.results) == bool(args.froc):
        raise ConfigError(
            'report: name either results of scans, or tested runs after '
            '--froc.'
        )
    _check_group(args)
    if args.scan and len(args.scan) != len(args.results):
        raise ConfigError(
            f'--scan: {len(args.scan)} scans of {len(args.results)} results; '
            'name one for each, in the same order.'
        )
    if args.viewer and not args.scan:
        raise ConfigError(
            '--viewer: shows the voxels, so name the scan with --scan.'
        )
    if args.hu_offset is not None and not args.scan:
        raise ConfigError(
            '--hu-offset: is added to the voxels, so name the scan with '
            '--scan.'
        )
    if args.strata and not args.cases:
        raise ConfigError(
            f'--strata {args.strata}: is a column of the prepared cases, so '
            'name them with --cases.'
        )


def _check_group(args: argparse.Namespace) -> None:
    """Refuse options of the other kind of report, which nothing reads."""
    kinds = ('tested runs', 'results of scans')
    here, there = kinds if args.froc else kinds[::-1]
    others = [
        f'--{name.replace("_", "-")}'
        for name in (OF_SCANS if args.froc else OF_RUNS)
        if getattr(args, name) not in (None, [])
    ]
    if others:
        raise ConfigError(
            f'{", ".join(others)}: only for {there}, and this is a report of '
            f'{here}; leave {"it" if len(others) == 1 else "them"} out.'
        )


def pages_of(args: argparse.Namespace) -> list[Path]:
    """The page of each result.

    Raises:
        ConfigError: Several results and one page, or two results of one name.
    """
    folders = [path if path.is_dir() else path.parent for path in args.results]
    if args.out is None:
        pages = [folder / PAGE for folder in folders]
    elif len(folders) == 1:
        pages = [args.out / PAGE if args.out.is_dir() else args.out]
    elif args.out.suffix == SUFFIX:
        raise ConfigError(
            f'--out {args.out}: is one page, there are {len(folders)} '
            'results; name a folder.'
        )
    else:
        pages = [
            args.out / f'{folder.resolve().name}{SUFFIX}' for folder in folders
        ]
    if len({*pages}) < len(pages):
        raise ConfigError(
            '--out: two results would be the same page; report them one by '
            'one.'
        )
    return pages
