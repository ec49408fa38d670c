"""``lungdet infer``: nodules of one scan."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from lungdet.cli.options import comma_list
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
        '--formats',
        type=comma_list,
        default=None,
        metavar='A,B',
        help='result formats; json,luna16,nifti,picture by default',
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
        '--score-thr',
        type=float,
        help='drop detections below this score; by default the threshold of '
        'the weights, or 0.2',
    )
    parser.add_argument(
        '--lung-margin',
        type=float,
        metavar='MM',
        help='drop detections farther outside the lungs (8)',
    )
    parser.add_argument(
        '--merge',
        type=float,
        metavar='MM',
        help='drop detections this near to a better one, or within its radius '
        '(4)',
    )
    parser.add_argument(
        '--keep-all',
        action='store_true',
        help='drop nothing that the network returns',
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
    from lungdet.evaluation import Selection
    from lungdet.exporters import DEFAULT_FORMATS, check_formats

    formats = check_formats(args.formats or DEFAULT_FORMATS)
    for name in args.imports:
        import_user_module(name)
    given = {
        'score_thr': args.score_thr,
        'lung_margin_mm': args.lung_margin,
        'merge_mm': args.merge,
    }
    given = {name: value for name, value in given.items() if value is not None}
    Selection(**given)  # refuses a wrong option before the weights are read
    inferencer = NoduleInferencer(args.weights, device=args.device)
    inferencer.selection = (
        Selection(None, None, None)
        if args.keep_all
        else replace(inferencer.selection, **given)
    )
    result = inferencer(
        args.scan,
        out_dir=args.out,
        formats=formats,
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
    except Exception as error:  # of the module's code, whatever it is
        raise ConfigError(
            f'--import {name}: raises {type(error).__name__}: {error}; '
            'correct the module.'
        ) from error
