"""Train a config."""

from __future__ import annotations

import argparse
import os

from lungdet import apis
from lungdet.cli import add_run_options, clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='continue; without PATH from the work dir, if anything is there',
    )
    parser.add_argument(
        '--resume-with-new-schedule',
        action='store_true',
        help='continue with the rate, optimiser and batch of the config',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='learning rate by the batch of all processes',
    )
    parser.add_argument(
        '--compile', action='store_true', help='compile the backbone'
    )
    add_run_options(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    new_schedule = args.resume_with_new_schedule
    with clean_errors('train.py'):
        apis.train(
            args.config,
            work_dir=args.work_dir,
            amp=args.amp,
            resume=args.resume or ('auto' if new_schedule else None),
            new_schedule=new_schedule,
            scale_lr=args.auto_scale_lr,
            compile_backbone=args.compile,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
            verbose=args.verbose,
        )


if __name__ == '__main__':
    main()
