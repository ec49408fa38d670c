"""``lungdet insert``: real scans with inserted nodules."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.cli.options import non_negative_int, positive_int
from lungdet.io.numbers import count_of


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet insert``."""
    parser = commands.add_parser('insert', help=insert.__doc__)
    parser.add_argument('store', type=Path, help='folder of prepared cases')
    parser.add_argument(
        'nodules', help='a library of "lungdet prepare nodules", or parametric'
    )
    parser.add_argument('out', type=Path, help='folder for the new cases')
    parser.add_argument(
        '--draws', type=positive_int, default=1, help='cases of each scan'
    )
    parser.add_argument(
        '--seed',
        type=non_negative_int,
        default=0,
        help='equal seeds give equal cases',
    )
    parser.add_argument(
        '--part',
        type=part,
        metavar='K/N',
        help="only nodules of the K-th of N parts of the library's patients",
    )
    parser.set_defaults(run=insert)


def part(text: str) -> tuple[int, int]:
    """``K/N`` as two numbers, for argparse."""
    number, parts = map(count_of, text.partition('/')[::2])
    if number is None or parts is None or not 1 <= number <= parts:
        raise argparse.ArgumentTypeError(f'{text} is not K/N with K up to N')
    return number, parts


def insert(args: argparse.Namespace) -> int:
    """Insert nodules into prepared scans, for a test with many nodules."""
    from lungdet.insertion.cases import InsertOptions, insert_cases

    options = InsertOptions(args.draws, args.seed, args.part)
    print(insert_cases(args.store, args.nodules, args.out, options).text())
    return 0
