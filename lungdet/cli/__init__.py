"""The ``lungdet`` command: it parses options, calls ``apis`` and prints.

Each sub-command is a file with its options and its call, listed in
``program.COMMANDS``. The tools share its options and error handling.
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
