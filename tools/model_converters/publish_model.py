"""Publish a checkpoint as a release: a safetensors file and its JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungdet.cli import clean_errors
from lungdet.threads import set_threads


def main() -> None:
    set_threads()  # before torch loads
    from lungdet.apis.publish import publish_model, read_commands

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='file or work folder')
    parser.add_argument(
        '--froc',
        nargs='+',
        required=True,
        metavar='RUN',
        help='folders of tests by networks of the same recipe that were not '
        'trained on the tested patients; they give the thresholds',
    )
    parser.add_argument('--name', required=True, help='of the release')
    parser.add_argument(
        '--out', type=Path, default=Path('.'), help='folder, here by default'
    )
    parser.add_argument(
        '--commands',
        type=Path,
        help='file with the commands that made the checkpoint, one per line',
    )
    parser.add_argument(
        '--licences',
        nargs='+',
        type=_named_licence,
        metavar='NAME=LICENCE',
        help='of the weights and of the data that they were trained on; '
        "needed for other data than LUNA16's, LIDC-IDRI's and phantoms",
    )
    parser.add_argument(
        '--attribution', help='what the data ask to be said; likewise'
    )
    args = parser.parse_args()
    with clean_errors('publish_model.py'):
        commands: list[str] = []
        if args.commands is not None:
            commands = read_commands(args.commands)
        path = args.out / f'{args.name}.safetensors'
        report = publish_model(
            args.checkpoint,
            args.froc,
            path,
            commands=commands,
            licences=args.licences and dict(args.licences),
            attribution=args.attribution,
        )
        print(report.text())
        print(f'written: {path} and {path.with_suffix(".json").name}')


def _named_licence(text: str) -> tuple[str, str]:
    name, equals, licence = text.partition('=')
    if not (name and equals and licence):
        raise argparse.ArgumentTypeError(f'{text!r} is no NAME=LICENCE')
    return name, licence


if __name__ == '__main__':
    main()
