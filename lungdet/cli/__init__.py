"""The ``lungdet`` command: parses, calls, prints. Nothing is computed here.

Each sub-command is a file with its options beside its call, listed in
``program.COMMANDS``. The tools share its options and its error lines.
"""

from lungdet.cli.errors import clean_errors
from lungdet.cli.options import (
    add_cfg_options,
    add_run_options,
    non_negative_int,
    positive_int,
)
from lungdet.cli.program import build_parser, main

__all__ = [
    'add_cfg_options',
    'add_run_options',
    'build_parser',
    'clean_errors',
    'main',
    'non_negative_int',
    'positive_int',
]
