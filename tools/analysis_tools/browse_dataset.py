"""One PNG a nodule of a prepared folder: three planes, box and outline."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from lungdet.cli import clean_errors
from lungdet.io.case_store import CaseStore
from lungdet.report.figures import nodule_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('store', type=Path, help='folder with the cases')
    parser.add_argument('out', type=Path, help='folder for the pictures')
    parser.add_argument('--max', type=int, help='pictures at most')
    args = parser.parse_args()
    with clean_errors('browse_dataset.py'):
        browse(args.store, args.out, args.max)


def browse(root: Path, out: Path, most: int | None) -> None:
    """Write the pictures, and say how many there could be."""
    store = CaseStore(root)
    out.mkdir(parents=True, exist_ok=True)
    nodules = [(r, n) for r in store.records.values() for n in r.nodules]
    for record, nodule in tqdm(nodules[:most]):
        uid = record.series_uid
        masks = store.read(uid, 'mask') if store.has(uid, 'mask') else None
        figure = nodule_sheet(
            store.read(uid, 'image'), record.geometry, [nodule], masks=masks
        )
        figure.savefig(out / f'{uid}_{nodule.id}.png', dpi=110)
    print(f'{len(nodules[:most])} of {len(nodules)} nodules in {out}')


if __name__ == '__main__':
    main()
