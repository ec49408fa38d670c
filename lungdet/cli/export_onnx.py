"""``lungdet export-onnx``: a detector as ONNX graphs."""

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
        metavar='FILE',
        help='checkpoint, work dir or release; by default the detector that '
        'comes with lungdet',
    )
    parser.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='MODULE',
        help='a module of your own that the checkpoint needs',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder for the files'
    )
    parser.set_defaults(run=export_onnx)


def export_onnx(args: argparse.Namespace) -> int:
    """Write a detector as ONNX graphs, and how to use them."""
    from lungdet.apis.detector_options import import_user_module
    from lungdet.deploy import export_onnx

    for name in args.imports:
        import_user_module(name)
    exported = export_onnx(args.out, args.model)
    for name, difference in exported.differences.items():
        file = exported.card['graphs'][name]['file']
        print(f'{file}: differs from torch by {difference:.1g} at most')
    print(printable(f'written to {exported.folder} (research use only)'))
    return 0
