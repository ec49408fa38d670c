"""From scans to a FROC table and pictures, by the README's commands."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {'python': [], 'lungdet': ['-m', 'lungdet.cli']}
PRETRAINING = 'configs/genesis_demo.py'
BASE, QAM = 'configs/nodulenet_demo.py', 'configs/nodulenet_demo_qam.py'
QAM_MG = 'configs/nodulenet_demo_qam_mg.py'
PHANTOMS = ['--scans', 110, '--seed', 1, '--size', 'small']
# of pre-training: shows how, but is too short to restore anything
ONE_EPOCH = ['train_cfg.max_epochs=1', 'param_scheduler.1.T_max=1']


def run(*words: object) -> None:
    """Print a command, run it in the project's root, say how long it took."""
    program, *arguments = map(str, words)
    print(f'\n$ {shlex.join([program, *arguments])}', flush=True)
    start = time.monotonic()
    command = [sys.executable, *PROGRAMS[program], *arguments]
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)  # the command has said why
    print(f'[{time.monotonic() - start:.0f} s]', flush=True)


def prepare(data: Path | None, out: Path, jobs: int) -> None:
    """Prepare the scans of ``data``, or phantoms."""
    scans = data or out / 'phantoms'
    if data is None:
        run('lungdet', 'phantom', scans, *PHANTOMS, '--jobs', jobs)
    xml = scans / 'xml'
    options = ['--jobs', jobs, *(['--lidc-xml', xml] if xml.is_dir() else [])]
    run('lungdet', 'prepare', 'luna16', scans, out / 'cases', *options)


def train_and_test(out: Path, options: list[str]) -> None:
    """Pre-train, train from the pre-trained weights, test, draw."""
    train = ['python', 'tools/train.py', '--amp', '--resume', '--work-dir']
    run(*train, out / 'pretrain', PRETRAINING, *options, *ONE_EPOCH)
    weights = out / 'pretrain' / 'backbone.safetensors'
    options = [*options, f'pretrained.weights={weights}']
    run(*train, out / 'train', QAM_MG, *options)
    test = ['python', 'tools/test.py', QAM_MG, '--out', out / 'test']
    run(*test, out / 'train' / 'last_checkpoint', *options)
    browse = ['python', 'tools/analysis_tools/browse_dataset.py']
    run(*browse, out / 'cases', out / 'pictures', '--max', 6)
    print(
        f'\nin {out}: test, pictures, and restored crops in pretrain/pictures'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, help='default: work_dirs/demo')
    parser.add_argument('--data', type=Path, help='a LUNA16 folder')
    parser.add_argument('--jobs', type=int, default=2, help='processes')
    parser.add_argument('--table', action='store_true', help='BASE, QAM, MG')
    parser.add_argument('--seeds', type=int, default=1, help='of the table')
    args = parser.parse_args()
    data = args.data and args.data.absolute()
    # a store and its results belong to one set of scans
    name = f'demo_{data.name}' if data else 'demo'
    out = (args.out or ROOT / 'work_dirs' / name).resolve()
    prepare(data, out, args.jobs)
    options = ['--cfg-options', f'data_root={out / "cases"}']
    if args.table:
        ablate = ['python', 'tools/ablate.py', BASE, QAM, QAM_MG, '--amp']
        run(*ablate, '--seeds', args.seeds, '--out', out / 'table', *options)
    else:
        train_and_test(out, options)


if __name__ == '__main__':
    main()
