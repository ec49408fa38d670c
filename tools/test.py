"""Test a checkpoint on whole scans: FROC table, submission, detections."""

from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction

from lungdet.apis import test
from lungdet.cli import clean_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='file or work dir')
    parser.add_argument('--out', help='folder for the results')
    parser.add_argument(
        '--candidates', help='csv of places: score these, search for none'
    )
    parser.add_argument(
        '--diameter',
        type=float,
        default=10.0,
        help='side of the box around a candidate, mm',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    parser.add_argument(
        '--launcher',
        default='none',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with clean_errors('test.py'):
        test(
            args.config,
            args.checkpoint,
            out=args.out,
            cfg_options=args.cfg_options,
            candidates=args.candidates,
            diameter_mm=args.diameter,
            launcher=args.launcher,
        )


if __name__ == '__main__':
    main()
