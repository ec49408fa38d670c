"""From scans to a FROC table and pictures, by the README's own commands."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCANS, SEED = 110, 1
CONFIG = 'configs/nodulenet_demo_qam_mg.py'
PRETRAINING = 'configs/genesis_demo.py'
# too short to restore anything: shows how, in the time that the demo has
SHORT = 'train_cfg.max_epochs=1 param_scheduler.1.T_max=1'
# the method's rows, for --table
ROWS = 'configs/nodulenet_demo.py configs/nodulenet_demo_qam.py ' + CONFIG


def run(*command: str | Path) -> None:
    """Print a command, run it in the project's root, say what it took.

    Texts are split into words as a shell would; paths stay whole.
    """
    words: list[str] = []
    for part in command:
        words += [str(part)] if isinstance(part, Path) else shlex.split(part)
    print(f'\n$ {shlex.join(words)}', flush=True)
    start = time.monotonic()
    module = ['-m', 'lungdet.cli'] if words[0] == 'lungdet' else []
    done = subprocess.run([sys.executable, *module, *words[1:]], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)  # the command has said why
    print(f'[{time.monotonic() - start:.0f} s]', flush=True)


def prepare(out: Path, data: Path | None, jobs: int) -> str:
    """Cases from phantoms or real scans; the option that names them."""
    scans = data or out / 'phantoms'
    if data is None:
        run(
            'lungdet phantom',
            scans,
            f'--scans {SCANS} --seed {SEED} --size small --jobs {jobs}',
        )
    xml = scans / 'xml'
    outlines = ['--lidc-xml', xml] if xml.is_dir() else []
    run(
        'lungdet prepare luna16',
        scans,
        out / 'cases',
        f'--jobs {jobs}',
        *outlines,
    )
    return shlex.quote(f'data_root={out / "cases"}')


def train_and_test(out: Path, data: str) -> None:
    """Pre-train, transfer, train, test, draw."""
    weights = out / 'pretrain' / 'backbone.safetensors'
    start = shlex.quote(f'pretrained.weights={weights}')
    run(
        f'python tools/train.py {PRETRAINING} --amp --resume --work-dir',
        weights.parent,
        f'--cfg-options {data} {SHORT}',
    )
    run(
        f'python tools/train.py {CONFIG} --amp --resume --work-dir',
        out / 'train',
        f'--cfg-options {data} {start}',
    )
    run(
        f'python tools/test.py {CONFIG}',
        out / 'train' / 'last_checkpoint',
        '--out',
        out / 'test',
        f'--cfg-options {data} {start}',
    )
    run(
        'python tools/analysis_tools/browse_dataset.py',
        out / 'cases',
        out / 'pictures',
        '--max 6',
    )
    print(f'\nrestored crops: {weights.parent / "pictures"}')
    print(f'FROC table and curve: {out / "test"}')
    print(f'pictures of the nodules: {out / "pictures"}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out', type=Path, help='default: work_dirs/demo, or demo_<data>'
    )
    parser.add_argument('--data', type=Path, help='a LUNA16 folder')
    parser.add_argument('--jobs', type=int, default=2, help='processes')
    parser.add_argument(
        '--table', action='store_true', help="the method's rows instead"
    )
    parser.add_argument('--seeds', type=int, default=1, help='of the table')
    args = parser.parse_args()
    scans = args.data and args.data.absolute()
    # a store and its results are of one set of scans
    name = f'demo_{scans.name}' if scans else 'demo'
    out = (args.out or ROOT / 'work_dirs' / name).resolve()

    data = prepare(out, scans, args.jobs)
    if args.table:
        run(
            f'python tools/ablate.py {ROWS} --amp',
            f'--seeds {args.seeds} --out',
            out / 'table',
            f'--cfg-options {data}',
        )
    else:
        train_and_test(out, data)


if __name__ == '__main__':
    main()
