"""Print what a checkpoint or an exported backbone was trained on, as JSON."""

from __future__ import annotations

import argparse
import json

from lungdet.cli import clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()  # before torch loads
    from lungdet.engine.provenance import describe_weights

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'weights', help='checkpoint, work folder, or backbone.safetensors'
    )
    args = parser.parse_args()
    with clean_errors('print_provenance.py'):
        print(json.dumps(describe_weights(args.weights), indent=1))


if __name__ == '__main__':
    main()
