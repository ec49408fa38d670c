"""Print the method's table: pre-train, train and test each config.

Run it again after an interruption: finished runs are reused. Writes
ablation.csv, ablation.txt, ablation.json and ablation.png.
"""

from __future__ import annotations

import argparse

from lungdet import apis
from lungdet.cli import add_cfg_options, clean_errors, positive_int
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs', nargs='+', help='the first is compared with'
    )
    parser.add_argument('--out', default='work_dirs/ablation')
    parser.add_argument(
        '--folds',
        default='config',
        help='"config", the split that each config has; subsets as 0-9 or '
        '3,5; "series"; or a csv of seriesuid, fold',
    )
    parser.add_argument(
        '--seeds', type=positive_int, default=1, help='runs per config'
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    add_cfg_options(parser)
    add_cfg_options(parser, '--pretrain-options', 'the configs that pre-train')
    args = parser.parse_args()
    with clean_errors('ablate.py'):
        table = apis.ablate(
            args.configs,
            args.out,
            folds=args.folds,
            seeds=args.seeds,
            amp=args.amp,
            cfg_options=args.cfg_options,
            pretrain_options=args.pretrain_options,
        )
    print(table.text())
    print(f'table and figure: {args.out}')


if __name__ == '__main__':
    main()
