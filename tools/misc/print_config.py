"""Print a config with its bases and options merged."""

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
        print(apis.load_config(args.config, args.cfg_options).pretty_text)


if __name__ == '__main__':
    main()
