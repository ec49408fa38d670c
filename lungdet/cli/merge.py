"""``lungdet merge``: results of several runs in one submission and table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lungdet.errors import counted, explain, printable

INCOMPLETE = 4  # exit code if scans have no result


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet merge``."""
    parser = commands.add_parser('merge', help=merge.__doc__)
    parser.add_argument(
        'folders',
        nargs='+',
        type=Path,
        metavar='DIR',
        help='what lungdet infer wrote',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder for the files'
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='merge what is there, if scans have no result',
    )
    parser.set_defaults(run=merge)


def merge(args: argparse.Namespace) -> int:
    """Join the results of lungdet infer in one submission and table."""
    from lungdet.apis.merge_results import MissingResultsError, merge_results

    try:
        merged = merge_results(
            args.folders, args.out, allow_missing=args.allow_missing
        )
    except MissingResultsError as error:
        print(f'lungdet: {explain(error)}', file=sys.stderr)
        return INCOMPLETE
    for text in merged.caveats:
        print(printable(f'caveat: {text}'), file=sys.stderr)
    print(
        printable(
            f'{counted(merged.detections, "detection")} in '
            f'{counted(len(merged.results), "scan")}, written to '
            f'{args.out} (research use only)'
        )
    )
    return 0
