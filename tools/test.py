"""Test a checkpoint on whole scans: FROC table, submission, detections."""

from __future__ import annotations

import argparse
import os

from lungdet import apis
from lungdet.cli import add_run_options, clean_errors
from lungdet.geometry import UNKNOWN_DIAMETER_MM
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument(
        'checkpoint',
        nargs='+',
        help='file or work dir; several are tested as an ensemble',
    )
    parser.add_argument('--out', help='folder for the results')
    parser.add_argument(
        '--candidates', help='csv of positions to score instead of searching'
    )
    parser.add_argument(
        '--diameter',
        type=float,
        default=UNKNOWN_DIAMETER_MM,
        help='side of the box around a candidate, mm',
    )
    add_run_options(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    one, *_ = args.checkpoint
    with clean_errors('test.py'):
        apis.test(
            args.config,
            one if len(args.checkpoint) == 1 else args.checkpoint,
            out=args.out,
            cfg_options=args.cfg_options,
            candidates=args.candidates,
            diameter_mm=args.diameter,
            launcher=args.launcher,
            verbose=args.verbose,
        )


if __name__ == '__main__':
    main()
