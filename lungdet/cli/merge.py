"""``lungdet merge``: results of several runs in one submission and table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lungdet.errors import counted, printable


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
    parser.set_defaults(run=merge)


def merge(args: argparse.Namespace) -> int:
    """Join the results of lungdet infer in one submission and table."""
    from lungdet.apis.merge_results import merge_results

    merged = merge_results(args.folders, args.out)
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
