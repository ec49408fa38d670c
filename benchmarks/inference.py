"""Cost of a scan: lungdet, whole-scan inference, and MONAI's RetinaNet.

python -m benchmarks.inference [SCAN] [--threads 2] [--slices 700]

Each row runs in a separate process, so that CPU-seconds (user and system),
wall time and peak memory do not mix; startup (imports, weights, choice of
precision) is not timed. ``infer`` rows are timed from the files to the written
results, the others from the prepared case. Without SCAN, a phantom is used.

MONAI's rows need ``pip install --no-deps monai==1.6.1``, or its folder in
PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from terminaltables import AsciiTable

from benchmarks.monai_retinanet import ROI, image_of, num_windows, retinanet
from benchmarks.peak import limit_gb, peak_gb
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.threads import available_cpus, set_thread_number

if TYPE_CHECKING:
    from lungdet.apis import NoduleInferencer

ROOT = Path(__file__).parents[1]
MOST_GB = 20  # memory limit of whole-scan inference
SMALL, FULL = 'lungdet_s', 'full size, untrained'
Cost = dict[str, Any]  # cpu, wall (seconds), peak_gb, remark


@contextmanager
def costs() -> Iterator[Cost]:
    """Measure the time of a block, and the process's peak memory after it."""
    cost: Cost = {'remark': ''}
    cpu, wall = time.process_time(), time.perf_counter()
    yield cost
    cost['cpu'] = time.process_time() - cpu
    cost['wall'] = time.perf_counter() - wall
    cost['peak_gb'] = peak_gb()


def write_scans(folder: Path, scan: Path | None, slices: int) -> Path:
    """Write a phantom if no scan is given, and two copies of the scan.

    The thin copy has the same body in thinner slices. The long copy has the
    same slices, continued by their mirror images.

    Args:
        folder: Folder for ``thin.mha``, ``long.mha`` and ``phantom.mha``.
        scan: Image file or DICOM folder; None for a phantom.
        slices: Number of slices of the copies; 0 for no copies.

    Returns:
        Path of the scan or the phantom.
    """
    from scipy.ndimage import zoom

    from lungdet.geometry import Geometry
    from lungdet.io.image import load_volume, write_image
    from lungdet.phantom import make_phantom

    if scan is None:
        scan = folder / 'phantom.mha'
        phantom = make_phantom(0).volume
        write_image(scan, phantom.array, phantom.geometry)
    if slices:
        volume = load_volume(scan)
        factor = slices / len(volume.array)
        array = zoom(volume.array, (factor, 1, 1), order=1)
        affine = volume.geometry.affine.copy()
        affine[:3, 0] /= factor
        geometry = Geometry(array.shape, affine)
        write_image(folder / 'thin.mha', array, geometry)
        more = max(0, slices - len(volume.array))
        array = np.pad(volume.array, ((0, more), (0, 0), (0, 0)), 'symmetric')
        geometry = Geometry(array.shape, volume.geometry.affine)
        write_image(folder / 'long.mha', array, geometry)
    return scan


def write_full_size(path: Path) -> None:
    """Write a checkpoint of untrained BASE with all three heads started.

    Its windows are fitted to the case, like those of the shipped detector.
    """
    from lungdet.apis import load_config
    from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
    from lungdet.engine.release import shipped_release
    from lungdet.registry import build_model

    checkpoint = read_checkpoint(shipped_release())
    shipped = checkpoint['meta']['model']['test_cfg']
    model = load_config(ROOT / 'configs' / 'nodulenet_base.py').model.to_dict()
    model['train_cfg']['rcnn']['start_epoch'] = 1
    model['train_cfg']['mask']['start_epoch'] = 1
    model['test_cfg'] |= {'max_voxels': shipped['max_voxels'], 'bf16': True}
    checkpoint['meta']['model'] = model
    checkpoint['state_dict'] = build_model(model).state_dict()
    checkpoint.pop('release', None)
    write_checkpoint(path, checkpoint)


def inferencer_of(
    name: str, folder: Path, precision: str = 'auto'
) -> NoduleInferencer:
    """The shipped detector, or the full-size one."""
    from lungdet.apis import NoduleInferencer

    weights = None if name == SMALL else folder / 'full.pth'
    return NoduleInferencer(weights, device='cpu', precision=precision)


def infer(name: str, scan: Path, folder: Path) -> Cost:
    """Cost of ``lungdet infer``, from the files to the written results."""
    from lungdet.apis.infer_scans import ScanRun
    from lungdet.apis.scan_inputs import find_scans

    inferencer = inferencer_of(name, folder)
    with tempfile.TemporaryDirectory(dir=folder) as out, costs() as cost:
        scans, _ = find_scans([scan], Path(out) / 'scratch')
        run = ScanRun(inferencer, scans, out)
        run.run()
    (outcome,) = run.outcomes
    steps = ', '.join(f'{k} {v:.1f}' for k, v in outcome.seconds.items())
    how = f'{inferencer.precision} {inferencer.memory_format}'
    cost['remark'] = f'{outcome.reason or how}; seconds: {steps}'
    return cost


def prepare(scan: Path, folder: Path) -> Cost:
    """Cost of reading and preparing a scan; saves the case for other rows."""
    from lungdet.io.image import load_volume

    inferencer = inferencer_of(SMALL, folder, 'fp32')
    with costs() as cost:
        volume = load_volume(scan)
        case = inferencer.prepare(volume)
    np.savez(
        folder / 'case.npz',
        **case.arrays,
        hu=volume.array,
        spacing_xyz=volume.geometry.spacing_xyz,
    )
    shapes = (volume.array.shape, case.arrays['image'].shape)
    of_scan, of_case = (' x '.join(map(str, shape)) for shape in shapes)
    cost['remark'] = f'{of_scan} voxels; the case {of_case}'
    return cost


def network(name: str, precision: str, folder: Path) -> Cost:
    """Cost of the network, from the case to its detections."""
    import torch

    from lungdet.data_sample import DetDataSample

    inferencer = inferencer_of(name, folder, precision)
    predictor = inferencer.model.case_predictor()
    with np.load(folder / 'case.npz') as stored:
        image = torch.from_numpy(stored['image'])[None]
        lungs = torch.from_numpy(stored['lungs'] > 0)
    sample = DetDataSample(lungs=lungs)
    sample.set_metainfo({'lung_margin': 8 / inferencer.info.spacing_mm})
    windows = predictor.windows(image, sample)
    voxels = sum(math.prod(window.size) for window in windows)
    with costs() as cost:
        predictor.predict(image, sample)
    cost['remark'] = (
        f'{inferencer.precision} {inferencer.memory_format}; {len(windows)} '
        f'windows, {voxels / image.numel():.2f} times the voxels'
    )
    return cost


def whole(name: str, folder: Path) -> Cost:
    """Cost of the published method: the whole case at once, in contiguous
    float32."""
    import torch

    model = inferencer_of(name, folder, 'fp32').model
    model.set_channels_last(False)
    model.test_cfg.update(window=None, max_voxels=None, only_lungs=False)
    with np.load(folder / 'case.npz') as stored:
        image = torch.from_numpy(stored['image'])[None]
    limit_gb(MOST_GB)
    parts = 1
    while True:
        part = image[:, : image.shape[1] // parts]
        try:
            with costs() as cost:
                model.predict_case(part)
        except (MemoryError, RuntimeError) as error:
            # torch's allocator raises a RuntimeError
            if parts == 8 or 'allocat' not in repr(error):
                raise
            parts *= 2
            continue
        if parts > 1:
            cost['remark'] = f'1/{parts} of the case: more took {MOST_GB} GB'
        return cost


def monai(folder: Path, roi: tuple[int, int, int], bf16: bool) -> Cost:
    """Cost of one window of MONAI's sliding window, times their number."""
    import torch

    try:
        model = retinanet()
    except ImportError:
        return {'remark': 'not installed: see --help'}
    with np.load(folder / 'case.npz') as stored:
        hu = torch.from_numpy(stored['hu'])
        image = image_of(hu, stored['spacing_xyz'].tolist())
    x, y, z = roi
    window = torch.zeros(1, *roi)
    part = image[:, :x, :y, :z]
    window[:, : part.shape[1], : part.shape[2], : part.shape[3]] = part
    number = num_windows(image.shape[1:], roi)
    with (
        costs() as cost,
        torch.inference_mode(),
        torch.autocast('cpu', torch.bfloat16, enabled=bf16),
    ):
        model([window], use_inferer=False)
    cost['cpu'] *= number
    cost['wall'] *= number
    cost['remark'] = f'1 of {number} windows of {x} x {y} x {z} was run'
    return cost


def rows(
    scan: Path, folder: Path, roi: tuple[int, int, int]
) -> dict[str, Callable[[], Cost]]:
    """The measurements, by the name of their row."""
    thin, long = folder / 'thin.mha', folder / 'long.mha'
    table = {
        f'infer, {SMALL}': lambda: infer(SMALL, scan, folder),
        f'infer, {FULL}': lambda: infer(FULL, scan, folder),
        f'infer, {SMALL}, thin slices': lambda: infer(SMALL, thin, folder),
        f'infer, {FULL}, thin slices': lambda: infer(FULL, thin, folder),
        f'infer, {SMALL}, longer body': lambda: infer(SMALL, long, folder),
        f'infer, {FULL}, longer body': lambda: infer(FULL, long, folder),
        'read and prepare': lambda: prepare(scan, folder),
        f'network, {SMALL}': lambda: network(SMALL, 'auto', folder),
        f'network, {SMALL}, fp32': lambda: network(SMALL, 'fp32', folder),
        f'network, {SMALL}, whole, fp32': lambda: whole(SMALL, folder),
        f'network, {FULL}': lambda: network(FULL, 'auto', folder),
        f'network, {FULL}, fp32': lambda: network(FULL, 'fp32', folder),
        f'network, {FULL}, whole, fp32': lambda: whole(FULL, folder),
        'network, MONAI, fp32': lambda: monai(folder, roi, False),
        'network, MONAI, bf16': lambda: monai(folder, roi, True),
    }
    if not thin.is_file():
        made = ('thin slices', 'longer body')
        return {k: v for k, v in table.items() if not k.endswith(made)}
    return table


def in_its_process(row: str, words: list[str]) -> Cost:
    """Result of a row in a separate process, or the reason for its failure."""
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.inference', *words, '--row', row],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [
            f'ended by signal {-done.returncode}'
        ]
        return {'remark': f'failed: {last[0]}'}
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Measure all rows, and print each immediately."""
    scan = write_scans(folder, args.scan, args.slices).resolve()
    write_full_size(folder / 'full.pth')
    words = [str(scan), '--folder', str(folder)]
    words += ['--threads', str(args.threads), '--roi', *map(str, args.roi)]
    table = [['what', 'CPU-s', 'wall s', 'peak GB', 'remark']]
    for row in rows(scan, folder, args.roi):
        if args.only and not any(part in row for part in args.only):
            continue
        cost = in_its_process(row, words)
        known = 'cpu' in cost
        numbers = [
            f'{cost[key]:.3g}' if known else '-'
            for key in ('cpu', 'wall', 'peak_gb')
        ]
        table.append([row, *numbers, cost['remark']])
        print(*table[-1], sep=' | ', flush=True)
    print(AsciiTable(table, f'{scan.name}, {args.threads} threads').table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('scan', nargs='?', type=Path)
    parser.add_argument(
        '--threads', type=positive_int, default=available_cpus()
    )
    parser.add_argument(
        '--slices',
        type=int,
        default=0,
        help='slices of the thin and of the long copy; 0 for none',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='WORDS',
        help='run only rows that contain one of these; networks need '
        '"prepare"',
    )
    parser.add_argument(
        '--roi',
        nargs=3,
        type=int,
        default=ROI,
        metavar='N',
        help="MONAI's window",
    )
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--row', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.scan is not None:
        args.scan.stat()  # raises if it is missing
    set_thread_number(args.threads)
    if args.row:
        work = rows(args.scan, args.folder, tuple(args.roi))[args.row]
        print(json.dumps(work()))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


if __name__ == '__main__':
    with clean_errors('benchmarks.inference'):
        main()
