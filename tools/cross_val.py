"""Cross-validate a config: train and test folds, pool, score once.

Run it again after an interruption: finished folds are reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet import apis
from lungdet.cli import add_cfg_options, clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument(
        '--folds',
        default='0-9',
        help='subsets as 0-9 or 3,5; "series"; or a csv of seriesuid, fold',
    )
    parser.add_argument('--out', help='folder for all folds')
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    add_cfg_options(parser)
    args = parser.parse_args()
    name = Path(args.config).stem
    out = Path(args.out or Path('work_dirs') / f'{name}_cross_val')
    with clean_errors('cross_val.py'):
        result = apis.cross_validate(
            args.config,
            args.folds,
            out,
            amp=args.amp,
            cfg_options=args.cfg_options,
        )
    print(result.text())
    print(f'pooled results: {out / "pooled"}')


if __name__ == '__main__':
    main()
