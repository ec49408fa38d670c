"""Duration of a shortened demo training, alone and on a busy machine.

python -m benchmarks.demo [--busy 2] [--epochs 2]

Beside busy processes, the training should take at most twice its time alone
plus the CPU time that the others used meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminaltables import AsciiTable

from benchmarks.threads import ROOT, busy
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from lungdet.threads import available_cpus

SCANS = 20
CONFIG = 'configs/nodulenet_demo_qam.py'


def train(cases: Path, work_dir: Path, epochs: int) -> float:
    """Wall time of a training in seconds, from start to end of the command."""
    options = [
        f'data_root={cases}',
        f'train_cfg.max_epochs={epochs}',
        f'param_scheduler.1.T_max={epochs}',
    ]
    words = [CONFIG, '--amp', '--work-dir', work_dir, '--cfg-options']
    start = time.monotonic()
    subprocess.run(
        [sys.executable, 'tools/train.py', *map(str, words), *options],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - start


def children_seconds() -> float:
    """CPU-seconds of child processes that have ended."""
    ended = os.times()
    return ended.children_user + ended.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cpus = available_cpus()
    parser.add_argument(
        '--busy', type=positive_int, default=cpus, help='processes'
    )
    parser.add_argument('--epochs', type=positive_int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans, cases = folder / 'scans', folder / 'cases'
        write_luna16_phantoms(scans, scans=SCANS, size='small', jobs=cpus)
        prepare_luna16(scans, cases, jobs=cpus)
        alone = train(cases, folder / 'alone', args.epochs)
        with busy(args.busy):
            beside = train(cases, folder / 'beside', args.epochs)
            before = children_seconds()
        others = (children_seconds() - before) / cpus
    bound = 2 * alone + others
    rows = [
        ["the demo's training", 'seconds', 'fraction of the bound'],
        ['alone', f'{alone:.1f}', ''],
        [f'beside {args.busy}', f'{beside:.1f}', f'{beside / bound:.2f}'],
        ['CPU time of the others / processors', f'{others:.1f}', ''],
        ['bound: twice alone + the others', f'{bound:.1f}', '1.00'],
    ]
    print(AsciiTable(rows, f'{SCANS} scans, {args.epochs} epochs').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.demo'):
        main()
