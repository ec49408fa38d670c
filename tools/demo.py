"""From scans to a FROC table and pictures, by the README's own commands."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCANS, SEED = 100, 1


def run(*command: object) -> None:
    """Print a command, run it in the project's root, say what it took."""
    words = [str(word) for word in command]
    print(f'\n$ {" ".join(words)}', flush=True)
    start = time.monotonic()
    python = [
        sys.executable,
        *(
            words[1:]
            if words[0] == 'python'
            else ['-m', 'lungdet.cli', *words[1:]]
        ),
    ]
    subprocess.run(python, cwd=ROOT, check=True)
    print(f'[{time.monotonic() - start:.0f} s]', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default='work_dirs/demo')
    parser.add_argument('--data', type=Path, help='a LUNA16 folder')
    parser.add_argument('--config', default='configs/nodulenet_demo.py')
    parser.add_argument('--jobs', type=int, default=2)
    args = parser.parse_args()
    out = args.out.resolve()

    scans = args.data
    if scans is None:
        scans = out / 'phantoms'
        run(
            'lungdet',
            'phantom',
            scans,
            '--scans',
            SCANS,
            '--seed',
            SEED,
            '--size',
            'small',
            '--jobs',
            args.jobs,
        )
    run(
        'lungdet',
        'prepare',
        'luna16',
        scans,
        out / 'cases',
        *(['--lidc-xml', scans / 'xml'] if (scans / 'xml').is_dir() else []),
        '--jobs',
        args.jobs,
    )
    options = ['--cfg-options', f'data_root={out / "cases"}']
    run(
        'python',
        'tools/train.py',
        args.config,
        '--amp',
        '--resume',
        '--work-dir',
        out / 'train',
        *options,
    )
    run(
        'python',
        'tools/test.py',
        args.config,
        out / 'train' / 'last_checkpoint',
        '--out',
        out / 'test',
        *options,
    )
    run(
        'python',
        'tools/analysis_tools/browse_dataset.py',
        out / 'cases',
        out / 'pictures',
        '--max',
        6,
    )
    print(f'\nFROC table and curve: {out / "test"}')
    print(f'pictures of the nodules: {out / "pictures"}')


if __name__ == '__main__':
    main()
