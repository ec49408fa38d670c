"""``lungdet infer``: nodules of one scan."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from lungdet.errors import ConfigError, printable


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet infer``."""
    parser = commands.add_parser('infer', help=infer.__doc__)
    parser.add_argument('scan', type=Path, help='image file or DICOM folder')
    parser.add_argument(
        '--weights', type=Path, required=True, help='checkpoint, or work dir'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder for the results'
    )
    parser.add_argument(
        '--device', default='auto', help='auto, cpu or cuda[:N]'
    )
    parser.add_argument(
        '--series', help='SeriesInstanceUID, if there are several'
    )
    parser.add_argument(
        '--hu-offset', type=int, help='HU of a stored 0, if the file lacks it'
    )
    parser.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='MODULE',
        help='a module of your own that the checkpoint needs',
    )
    parser.set_defaults(run=infer)


def infer(args: argparse.Namespace) -> int:
    """Find nodules in one scan."""
    from lungdet.apis import NoduleInferencer

    for name in args.imports:
        import_user_module(name)
    inferencer = NoduleInferencer(args.weights, device=args.device)
    result = inferencer(
        args.scan,
        out_dir=args.out,
        series_uid=args.series,
        hu_offset=args.hu_offset,
    )
    for caveat in result.caveats:
        print(printable(f'caveat: {caveat}'), file=sys.stderr)
    print(
        printable(
            f'{len(result.detections)} detections in series '
            f'{result.series_uid}, written to {args.out} (research use only)'
        )
    )
    return 0


def import_user_module(name: str) -> None:
    """Import a module that registers classes of the user.

    Raises:
        ConfigError: It cannot be imported.
    """
    try:
        import_module(name)
    except ImportError as error:
        raise ConfigError(
            f'--import {name}: {error}; check the name and PYTHONPATH.'
        ) from error
