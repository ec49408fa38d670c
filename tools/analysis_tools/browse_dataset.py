"""One PNG per nodule of a prepared folder: three planes, box and outline."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.apis.nodule_pictures import write_nodule_pictures
from lungdet.cli import clean_errors, positive_int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('store', type=Path, help='folder with the cases')
    parser.add_argument('out', type=Path, help='folder for the pictures')
    parser.add_argument('--max', type=positive_int, help='limit of pictures')
    args = parser.parse_args()
    with clean_errors('browse_dataset.py'):
        written, nodules = write_nodule_pictures(
            args.store, args.out, limit=args.max
        )
        print(f'{written} of {nodules} nodules in {args.out}')


if __name__ == '__main__':
    main()
