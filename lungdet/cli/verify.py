"""``lungdet verify``: stored arrays against their checksums."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet verify``."""
    parser = commands.add_parser('verify', help=verify.__doc__)
    parser.add_argument('store', type=Path, help='folder with prepared cases')
    parser.set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    """Compare every stored array with its checksum."""
    from lungdet.errors import counted
    from lungdet.io.case_store import CaseStore

    store = CaseStore(args.store)
    for uid in store.records:
        store.verify(uid)
    print(f'{counted(len(store.records), "case")} verified in {args.store}')
    return 0
