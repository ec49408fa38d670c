"""``lungdet export-onnx``: export a detector as ONNX graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.cli.options import add_detector_options
from lungdet.errors import printable


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet export-onnx``."""
    parser = commands.add_parser('export-onnx', help=export_onnx.__doc__)
    add_detector_options(parser)
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
