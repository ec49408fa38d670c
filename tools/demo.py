"""From scans to pictures and a FROC table, by the README's commands."""

import argparse
from pathlib import Path

from lungdet.cli import clean_errors
from lungdet.cli.stages import Stages

ROOT = Path(__file__).resolve().parent.parent
DEMO = [f'configs/nodulenet_demo{row}.py' for row in ('', '_qam', '_qam_mg')]
ABLATE = ['python', 'tools/ablate.py', *DEMO, '--amp']
TRAIN = ['python', 'tools/train.py', '--amp', '--resume', '--work-dir']
SCHEDULE = 'param_scheduler.1.T_max'
PAGE = 'report.html'
BROWSE = ['python', 'tools/analysis_tools/browse_dataset.py', '--max', 6]


def epochs(number: int) -> list[str]:
    return [f'train_cfg.max_epochs={number}', f'{SCHEDULE}={number}']


def prepare(stages: Stages, args: argparse.Namespace, out: Path) -> None:
    """Prepare the scans of ``--data``, or phantoms."""
    scans = args.data.resolve() if args.data else out / 'phantoms'
    more = ['--jobs', args.jobs]
    if args.data is None:
        number = 20 if args.quick else 110
        text = f'phantoms: {number} synthetic chest scans with known nodules'
        words = ['--scans', number, '--seed', 1, '--size', 'small', *more]
        stages.run(text, 'lungdet', 'phantom', scans, *words)
    more += ['--lidc-xml', scans / 'xml'] if (scans / 'xml').is_dir() else []
    text = 'prepare: find the lungs, resample to 1 mm, draw the nodules'
    words = ['prepare', 'luna16', scans, out / 'cases', *more]
    stages.run(text, 'lungdet', *words)


def infer(stages: Stages, data: Path | None, out: Path) -> None:
    """Run the detector that comes with lungdet on one scan."""
    scans = data.resolve() if data else out / 'phantoms'
    # of a LUNA16 folder; else lungdet finds the scans in it
    scan = min(scans.glob('subset*/*.mhd'), default=scans)
    text = 'infer: the detector that comes with lungdet, on one scan'
    folder = out / 'infer'
    stages.run(text, 'lungdet', 'infer', scan, '--out', folder, '--overwrite')


def train_and_test(stages: Stages, out: Path, options: list, few: int) -> None:
    """Pre-train, train from the pre-trained weights, draw, test, report."""
    text = 'pre-train: restore distorted crops, one epoch, to show how'
    genesis = ['configs/genesis_demo.py', *options, *epochs(1)]
    stages.run(text, *TRAIN, out / 'pretrain', *genesis)
    weights = out / 'pretrain' / 'backbone.safetensors'
    options = [*options, f'pretrained.weights={weights}']
    text = 'train: NoduleNet with quartet attention, from those weights'
    words = [*TRAIN, out / 'train', DEMO[-1], *options]
    stages.run(text, *words, *(epochs(2) if few else []))
    text = 'pictures: nodules of the reference, with box and outline'
    stages.run(text, *BROWSE, out / 'cases', out / 'pictures')
    text = 'test: find the nodules of scans that it was not trained on'
    test = ['python', 'tools/test.py', DEMO[-1], '--out', out / 'test']
    stages.run(text, *test, out / 'train', *options)
    text = 'report: curves, tables and the worst errors as one page'
    words = ['--cases', out / 'cases', '--out', out / PAGE]
    stages.run(text, 'lungdet', 'report', '--froc', out / 'test', *words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, help='default: work_dirs/demo')
    parser.add_argument('--data', type=Path, help='a LUNA16 folder')
    parser.add_argument('--jobs', type=int, default=2, help='processes')
    parser.add_argument('--table', action='store_true', help='BASE, QAM, MG')
    parser.add_argument('--seeds', type=int, default=1, help='of the table')
    parser.add_argument('--quick', action='store_true', help='a short look')
    args = parser.parse_args()
    # a store and its results belong to one set of scans
    name = f'demo_{args.data.resolve().name}' if args.data else 'demo'
    out = (args.out or ROOT / 'work_dirs' / name).resolve()
    options = ['--cfg-options', f'data_root={out / "cases"}']
    number = 8 - 5 * args.table - bool(args.data)
    with clean_errors('demo.py'):
        stages = Stages(ROOT, number, out / 'commands.txt')
        prepare(stages, args, out)
        if args.table:
            text = 'table: BASE, QAM and QAM+MG, trained and tested alike'
            words = ['--seeds', args.seeds, '--out', out / 'table', *options]
            stages.run(text, *ABLATE, *words)
        else:
            train_and_test(stages, out, options, args.quick)
            infer(stages, args.data, out)
        print(f'in {stages.shown(out)}: results, pictures, commands.txt')
        if not args.table:
            print(f'look at {stages.shown(out / PAGE)}')


if __name__ == '__main__':
    main()
