"""Parameters of a config's network, and its multiply-adds for one crop."""

from __future__ import annotations

import argparse

from lungdet import apis
from lungdet.cli import add_cfg_options, clean_errors, positive_int
from lungdet.threads import set_threads


def main() -> None:
    set_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument(
        '--side', type=positive_int, default=128, help='crop, voxels'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    with clean_errors('get_flops.py'):
        from lungdet.apis.model_cost import model_cost  # loads torch
        from lungdet.registry import build_model

        config = apis.load_config(args.config, args.cfg_options)
        model = build_model(config.model)
        print(model_cost(model, args.side).text())


if __name__ == '__main__':
    main()
