"""``lungdet export-onnx``: export a detector as ONNX graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.errors import printable


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet export-onnx``."""
    parser = commands.add_parser('export-onnx', help=export_onnx.__doc__)
    parser.add_argument(
        '--model',
        type=Path,
        metavar='NAME|PATH',
        help='checkpoint, release or a folder of either, or the name of a '
        'detector that comes with lungdet (default: lungdet_s)',
    )
    parser.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='MODULE',
        help='module that registers your own classes, if the checkpoint uses '
        'any; may be given several times',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='output folder'
    )
    parser.set_defaults(run=export_onnx)


def export_onnx(args: argparse.Namespace) -> int:
    """Export a detector as ONNX graphs, with a JSON description."""
    from lungdet.apis.detector_options import import_user_module
    from lungdet.deploy import export_onnx

    for name in args.imports:
        import_user_module(name)
    exported = export_onnx(args.out, args.model)
    for name, difference in exported.differences.items():
        file = exported.card['graphs'][name]['file']
        print(f'{file}: largest difference from torch {difference:.1g}')
    print(printable(f'written to {exported.folder} (research use only)'))
    return 0
