"""The boxes of either head and every fusion of scores, of one checkpoint."""

from __future__ import annotations

import argparse

from lungdet.cli import add_cfg_options, clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='file or work dir')
    parser.add_argument('--out', required=True, help='folder for the results')
    add_cfg_options(parser)
    args = parser.parse_args()
    with clean_errors('compare_fusions.py'):
        from lungdet.apis.compare_fusions import compare_fusions

        compare_fusions(
            args.config,
            args.checkpoint,
            out=args.out,
            cfg_options=args.cfg_options,
        )


if __name__ == '__main__':
    main()
