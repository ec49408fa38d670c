"""Print a config with its bases and options merged.

One that could not be trained is printed too, and the error says why.
"""

from __future__ import annotations

import argparse

from lungdet import apis
from lungdet.cli import add_cfg_options, clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    add_cfg_options(parser)
    args = parser.parse_args()
    with clean_errors('print_config.py'):
        config = apis.load_config(args.config, args.cfg_options)
        print(config.pretty_text)
        apis.check_training(config)


if __name__ == '__main__':
    main()
