"""The commands of ``tools/demo.py``, each with its purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lungdet.report.html import PAGE

ROWS = [f'configs/nodulenet_demo{row}.py' for row in ('', '_qam', '_qam_mg')]
TRAIN = ('python', 'tools/train.py', '--amp', '--resume', '--work-dir')
BROWSE = ('python', 'tools/analysis_tools/browse_dataset.py', '--max', 6)


def preparation(
    data: Path | None, out: Path, *, jobs: int, quick: bool
) -> Iterator[tuple]:
    """The commands that make the cases.

    Args:
        data: A LUNA16 folder; None makes phantoms.
        out: Folder of the demo.
        jobs: Processes.
        quick: Few phantoms.

    Yields:
        The purpose in a line, then the words of the command. Like the other
        functions here, it yields a command when the one before has ended.
    """
    scans, more = data or out / 'phantoms', ['--jobs', jobs]
    if data is None:
        number = 20 if quick else 110
        text = f'phantoms: {number} synthetic chest scans with known nodules'
        words = ['--scans', number, '--seed', 1, '--size', 'small', *more]
        yield text, 'lungdet', 'phantom', scans, *words
    more += ['--lidc-xml', scans / 'xml'] if (scans / 'xml').is_dir() else []
    text = 'prepare: find the lungs, resample to 1 mm, draw the nodules'
    yield text, 'lungdet', 'prepare', 'luna16', scans, out / 'cases', *more


def detection(out: Path, *, quick: bool) -> Iterator[tuple]:
    """Pre-train, train from the pre-trained weights, draw, test, report."""
    options = ['--cfg-options', f'data_root={out / "cases"}']
    genesis = ['configs/genesis_demo.py', *options, *_epochs(1)]
    text = 'pre-train: restore distorted crops, one epoch, to show how'
    yield text, *TRAIN, out / 'pretrain', *genesis
    weights = out / 'pretrain' / 'backbone.safetensors'
    options = [*options, f'pretrained.weights={weights}']
    few = _epochs(2) if quick else []
    text = 'train: NoduleNet with quartet attention, from those weights'
    yield text, *TRAIN, out / 'train', ROWS[-1], *options, *few
    text = 'pictures: nodules of the reference, with box and outline'
    yield text, *BROWSE, out / 'cases', out / 'pictures'
    test = ['python', 'tools/test.py', ROWS[-1], '--out', out / 'test']
    text = 'test: find the nodules of scans that it was not trained on'
    yield text, *test, out / 'train', *options
    text = 'report: curves, tables and the worst errors as one page'
    words = ['--cases', out / 'cases', '--out', out / PAGE]
    yield text, 'lungdet', 'report', '--froc', out / 'test', *words


def inference(data: Path | None, out: Path) -> Iterator[tuple]:
    """Run the detector that comes with lungdet on one scan."""
    scans = data or out / 'phantoms'
    # of a LUNA16 folder; else lungdet finds the scans in it
    scan = min(scans.glob('subset*/*.mhd'), default=scans)
    text = 'infer: the detector that comes with lungdet, on one scan'
    words = [scan, '--out', out / 'infer', '--overwrite']
    yield text, 'lungdet', 'infer', *words


def table(out: Path, *, seeds: int) -> Iterator[tuple]:
    """The rows of the method's table, except MG alone."""
    text = 'table: BASE, QAM and QAM+MG, trained and tested alike'
    words = ['--amp', '--seeds', seeds, '--out', out / 'table']
    options = ['--cfg-options', f'data_root={out / "cases"}']
    yield text, 'python', 'tools/ablate.py', *ROWS, *words, *options


def _epochs(number: int) -> list[str]:
    keys = ('train_cfg.max_epochs', 'param_scheduler.1.T_max')
    return [f'{key}={number}' for key in keys]
