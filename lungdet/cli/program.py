"""The parser of the ``lungdet`` command, and its main function."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

import lungdet
from lungdet.cli.errors import clean_errors
from lungdet.threads import set_threads

# in the order of the help; each has a module here, with an
# add_parser(commands) that sets ``run``, a function from the parsed arguments
# to the exit code
COMMANDS = (
    'prepare',
    'phantom',
    'insert',
    'verify',
    'infer',
    'export-onnx',
    'merge',
    'froc',
    'report',
    'serve',
)


def build_parser() -> argparse.ArgumentParser:
    """All sub-commands with their options."""
    parser = argparse.ArgumentParser(
        prog='lungdet',
        description='Lung nodule detection in chest CT. Research use only.',
    )
    parser.add_argument(
        '--version', action='version', version=lungdet.__version__
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of an error'
    )
    commands = parser.add_subparsers(dest='command', required=True)
    for name in COMMANDS:
        module = f'lungdet.cli.{name.replace("-", "_")}'
        import_module(module).add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: The words after ``lungdet``; by default those of the process.

    Returns:
        The exit code: 0 done, 2 bad usage or input, 3 some scans failed, 4
        scans without a result are not merged, 130 interrupted, 141 where
        nobody reads its output. An internal error is raised, and the
        interpreter exits with 1.
    """
    set_threads()  # before a command imports torch
    words = sys.argv[1:] if argv is None else argv
    runs = False
    try:
        # from here on, without a gap in which Ctrl-C would give a traceback
        with clean_errors('lungdet', debug='--debug' in words):
            args = build_parser().parse_args(words)
            runs = True
            return args.run(args)
    except SystemExit as stopped:
        if not runs:  # the parser's own: help, or bad usage
            raise
        return int(stopped.code or 0)
