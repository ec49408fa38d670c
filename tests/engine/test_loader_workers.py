"""Batches of workers arrive, or the run says why not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader, Dataset

from lungdet.apis import load_config, train
from lungdet.engine import LungRunner, distributed, loader_workers
from lungdet.engine.loader_workers import (
    MIN_SHARED_BYTES,
    PackedBatch,
    pack_batches,
    shared_need,
    worker_errors,
)
from lungdet.errors import ConfigError, SeriesError
from lungdet.io.case_store import rebuild_index
from tests.datasets.stores import training_crops, write_cubes
from tests.kills import running

ROOT = Path(__file__).parents[2]
Usage = namedtuple('Usage', ['total', 'used', 'free'])


class Samples(Dataset):
    """Samples of one large tensor and some small ones."""

    def __init__(self, side: int = 64, last: Any = None) -> None:
        self.side, self.last = side, last

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        if isinstance(self.last, Exception):
            raise self.last
        if self.last == 'killed':
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            'inputs': torch.full((self.side,) * 3, index, dtype=torch.int16),
            'boxes': torch.full((2, 6), float(index)),
            'half': torch.full((3,), index, dtype=torch.bfloat16),
            'name': f's{index}',
            'last': self.last,
        }


def loader(**options: Any) -> DataLoader:
    dataset = Samples(options.pop('side', 64), options.pop('last', None))
    options = {'num_workers': 1, 'batch_size': 2, **options}
    made = DataLoader(dataset, collate_fn=pseudo_collate, **options)
    pack_batches(made)
    return made


def check_batches(made: DataLoader) -> None:
    batches = list(made)

    assert len(batches) == 2
    for number, batch in enumerate(batches):
        for k, index in enumerate((2 * number, 2 * number + 1)):
            assert batch['name'][k] == f's{index}'
            assert batch['inputs'][k].dtype == torch.int16
            for key in ('inputs', 'boxes', 'half'):
                assert (batch[key][k] == index).all()
            batch['inputs'][k] += 1  # may be changed, as without workers


def shared_memory(free_mb: float, patch: pytest.MonkeyPatch) -> None:
    usage = Usage(0, 0, int(free_mb * 2**20))
    patch.setattr(shutil, 'disk_usage', lambda _: usage)


def test_without_workers_nothing_is_packed() -> None:
    made = loader(num_workers=0)

    assert made.collate_fn is pseudo_collate
    check_batches(made)


def test_large_tensors_are_shared_and_small_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shared_memory(1000, monkeypatch)

    made = loader()

    batch = made.collate_fn([made.dataset[0], made.dataset[1]])
    assert [t.nbytes for t in batch.tensors] == [2 * 64**3] * 2
    assert 64**3 * 2 >= MIN_SHARED_BYTES and batch.tensors[0].is_shared()
    assert shared_need(made) == (3 * 2 * 2 * 64**3, 6)
    check_batches(made)
    assert not capsys.readouterr().out


def test_small_shared_memory_is_told_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shared_memory(5, monkeypatch)  # three batches of 1 MB take more than half

    made = loader()

    (line,) = capsys.readouterr().out.splitlines()
    assert '/dev/shm: 5 MB are free, and 1 workers may fill 3 MB' in line
    assert '--shm-size=6m' in line
    batch = made.collate_fn([made.dataset[0], made.dataset[1]])
    assert not batch.tensors
    check_batches(made)


def test_full_shared_memory_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared_memory(0.5, monkeypatch)

    with pytest.raises(ConfigError, match='1, but /dev/shm has 512 kB left'):
        loader()
    loader(num_workers=0)


def test_few_open_files_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(loader_workers, 'max_open_files', lambda: 8)

    made = loader()

    assert '8 files may be open' in capsys.readouterr().out
    check_batches(made)


@pytest.mark.parametrize('missing', ['shared memory', 'limit of files'])
def test_systems_without_limits_share(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if missing == 'shared memory':
        nowhere = tmp_path / 'nothing'
        monkeypatch.setattr(loader_workers, 'SHARED_MEMORY', nowhere)
    else:
        monkeypatch.setattr(loader_workers, 'resource', None)
        assert loader_workers.max_open_files() is None

    check_batches(loader())


def test_shared_memory_that_others_fill_later_is_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: torch.Tensor) -> None:
        raise RuntimeError('unable to allocate shared memory(shm)')

    monkeypatch.setattr(torch.Tensor, 'share_memory_', fail)

    check_batches(loader())


def test_a_batch_is_unpickled_as_itself() -> None:
    image = torch.zeros(64, 64, 64)
    packed = PackedBatch({'one': image, 'same': image, 'list': [1, 'a']})

    assert len(packed.tensors) == 1  # pickled once
    batch = pickle.loads(pickle.dumps(packed))
    assert batch['list'] == [1, 'a'] and torch.equal(batch['same'], image)


def test_what_cannot_be_pickled_is_an_error_and_no_endless_wait() -> None:
    made = loader(last=lambda: None)

    with pytest.raises(ConfigError, match='^num_workers: .* be pickled'):
        with worker_errors():
            list(made)


def test_an_error_of_a_worker_is_as_short_as_without_workers() -> None:
    with pytest.raises(SeriesError, match=r'^a\.mhd: is cut\.$'):
        with worker_errors():
            list(loader(last=SeriesError('a.mhd: is cut.')))


def test_a_killed_worker_is_one_line() -> None:
    made = loader(last='killed', num_workers=0)
    made = DataLoader(made.dataset, num_workers=1, collate_fn=pseudo_collate)

    with pytest.raises(ConfigError, match='^num_workers: a process that loa'):
        with worker_errors():
            list(made)


@pytest.mark.skipif(
    'fork' not in multiprocessing.get_all_start_methods(),
    reason='the other tests start processes as this one does',
)
def test_workers_that_start_anew_load_the_same(tiny_config: Path) -> None:
    """As on Windows and macOS, where nothing is forked."""
    cfg = load_config(tiny_config).train_dataloader
    cfg['num_workers'] = 1
    batches = []
    for method in ('fork', 'spawn'):
        with DefaultScope.overwrite_default_scope('lungdet'):
            made = LungRunner.build_dataloader(cfg, seed=0)
        made.multiprocessing_context = method
        batches.append(list(made))

    for one, other in zip(*batches, strict=True):
        assert all(map(torch.equal, one['inputs'], other['inputs']))


def test_the_largest_sample_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = loader()
    made.dataset.side, made.dataset.largest_sample = 128, 3

    assert shared_need(made) == (3 * 2 * 2 * 128**3, 6)
    monkeypatch.setattr(Samples, '__len__', lambda _: 0)
    assert shared_need(made) == (0, 0)


def test_crops_are_measured_as_they_are_late_in_the_training(
    tmp_path: Path,
) -> None:
    write_cubes(tmp_path, '1.1', 0)
    rebuild_index(tmp_path)
    late = {'late_size': (64, 64, 64), 'late_epoch': 46}
    needs = [
        shared_need(
            DataLoader(
                training_crops(
                    tmp_path, size=size, late=changed, test_subsets=()
                ),
                batch_size=2,
                num_workers=1,
            )
        )
        for size, changed in (((32, 32, 32), late), ((64, 64, 64), None))
    ]

    assert needs[0] == needs[1]
    assert needs[0][0] > 0


@pytest.mark.parametrize(
    ('platform', 'method'),
    [('linux', 'fork'), ('darwin', 'spawn'), ('win32', 'spawn')],
)
def test_only_linux_copies_processes(
    platform: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'platform', platform)

    assert loader_workers.start_method() == method


IN_A_SMALL_FOLDER = """
import torch
from tests.engine.test_loader_workers import check_batches, loader
check_batches(loader(num_workers=2, prefetch_factor=2))
print('arrived')
"""


@pytest.mark.slow
@pytest.mark.parametrize('told', [True, False])
def test_a_container_with_a_small_shared_memory(told: bool) -> None:
    """A real tmpfs of 1 MB; without the comparison, too."""
    unshare = shutil.which('unshare')
    mount = 'mount -t tmpfs -o size=1m tmpfs /dev/shm'
    if unshare is None:
        pytest.skip('no unshare here')
    spaces = [unshare, '-Urm', 'sh', '-c']
    if subprocess.run([*spaces, mount], capture_output=True).returncode:
        pytest.skip('no file systems may be mounted here')
    code = IN_A_SMALL_FOLDER
    if not told:
        blind = 'loader_workers.free_shared_memory = lambda: None'
        code = f'from lungdet.engine import loader_workers\n{blind}\n{code}'

    done = subprocess.run(
        [*spaces, f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == 'arrived'
    assert ['/dev/shm: 1 MB are free' in line for line in lines] == (
        [True] if told else []
    )


@pytest.fixture
def start_method_after() -> Iterator[None]:
    before = torch.multiprocessing.get_start_method()
    yield
    torch.multiprocessing.set_start_method(before, force=True)


@pytest.mark.slow
@pytest.mark.usefixtures('start_method_after')
@pytest.mark.filterwarnings('ignore:Multi-processing start method')
def test_training_is_the_same_on_another_machine(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little shared memory, and processes that start anew."""
    weights = []
    options = {
        'train_dataloader.num_workers': 2,
        'val_dataloader.num_workers': 1,
        'train_cfg.max_epochs': 2,
    }
    for free_mb, method in ((1000, 'fork'), (1, 'spawn')):
        shared_memory(free_mb, monkeypatch)
        monkeypatch.setattr(distributed, 'start_method', method.__str__)
        runner = train(
            tiny_config, work_dir=tmp_path / str(free_mb), cfg_options=options
        )
        assert torch.multiprocessing.get_start_method() == method
        weights.append(runner.bare_model.state_dict())

    assert all(
        torch.equal(value, weights[1][name])
        for name, value in weights[0].items()
    )


KILLED = """
import os, signal
from tests.engine.test_loader_workers import loader
made = loader(side=31, num_workers=2, batch_size=1)
batches = iter(made)
next(batches)
print('begun', flush=True)
signal.pause()
"""


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='asks /proc')
def test_workers_end_with_a_run_that_is_killed() -> None:
    """Also those that wait until a batch, larger than a pipe, is read."""
    with subprocess.Popen(
        [sys.executable, '-c', KILLED],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b'begun\n'
        time.sleep(0.5)  # until the pipes are full
        program.kill()
    try:
        end = time.monotonic() + 15
        while running(program.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not running(program.pid)
    finally:
        if running(program.pid):
            os.killpg(program.pid, signal.SIGKILL)
