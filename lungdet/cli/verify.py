"""``lungdet verify``: stored arrays against their checksums."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet verify``."""
    parser = commands.add_parser('verify', help=verify.__doc__)
    parser.add_argument('store', type=Path, help='folder with prepared cases')
    parser.set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    """Compare every stored array with its checksum."""
    from lungdet.errors import SeriesError, counted, explain
    from lungdet.io.case_store import CaseStore

    store, damaged = CaseStore(args.store), 0
    for uid in store.records:
        try:
            store.verify(uid)
        except SeriesError as error:
            damaged += 1
            print(f'lungdet: {explain(error)}', file=sys.stderr)
    number = counted(len(store.records), 'case')
    if damaged:
        print(f'{damaged} of {number} damaged in {args.store}')
        return 2
    print(f'{number} verified in {args.store}')
    return 0
