"""From scans to pictures and a FROC table, by the README's commands."""

import argparse
from itertools import chain
from pathlib import Path

from lungdet.cli import clean_errors, demo_commands, positive_int
from lungdet.cli.commands import Commands

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, help='default: work_dirs/demo')
    parser.add_argument('--data', type=Path, help='a LUNA16 folder')
    parser.add_argument(
        '--jobs', type=positive_int, default=2, help='processes'
    )
    parser.add_argument('--table', action='store_true', help='BASE, QAM, MG')
    parser.add_argument(
        '--seeds', type=positive_int, default=1, help='of the table'
    )
    parser.add_argument('--quick', action='store_true', help='a short look')
    args = parser.parse_args()
    data = args.data and args.data.resolve()
    # a store and its results belong to one set of scans
    name = f'demo_{data.name}' if data else 'demo'
    out = (args.out or ROOT / 'work_dirs' / name).resolve()
    cases = demo_commands.preparation(
        data, out, jobs=args.jobs, quick=args.quick
    )
    if args.table:
        results = demo_commands.table(out, seeds=args.seeds)
    else:
        results = chain(
            demo_commands.detection(out, quick=args.quick),
            demo_commands.inference(data, out),
        )
    number = 8 - 5 * args.table - bool(data)
    with clean_errors('demo.py'):
        commands = Commands(ROOT, number, out / 'commands.txt')
        for purpose, *words in chain(cases, results):
            commands.run(purpose, *words)
        print(f'in {commands.shown(out)}: results, pictures, commands.txt')
        if not args.table:
            print(f'look at {commands.shown(out / demo_commands.PAGE)}')


if __name__ == '__main__':
    main()
