"""``lungdet phantom``: synthetic scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.cli.options import non_negative_int, positive_int


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet phantom``."""
    parser = commands.add_parser('phantom', help=phantom.__doc__)
    parser.add_argument('out', type=Path, help='folder for the download')
    parser.add_argument(
        '--scans', type=positive_int, default=10, help='number of scans'
    )
    parser.add_argument(
        '--seed',
        type=non_negative_int,
        default=0,
        help='equal seeds give equal files',
    )
    parser.add_argument(
        '--size',
        choices=('small', 'full'),
        default='full',
        help="an adult's chest, or a quarter of it",
    )
    parser.add_argument(
        '--jobs',
        type=positive_int,
        default=1,
        help='scans made at a time, each in a process',
    )
    parser.set_defaults(run=phantom)


def phantom(args: argparse.Namespace) -> int:
    """Write synthetic chest scans in LUNA16's download format."""
    from lungdet.phantom import write_luna16_phantoms

    write_luna16_phantoms(
        args.out,
        scans=args.scans,
        seed=args.seed,
        size=args.size,
        jobs=args.jobs,
    )
    print(f'{args.scans} phantoms in {args.out}')
    return 0
