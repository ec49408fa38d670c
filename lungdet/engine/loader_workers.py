"""Workers of data loaders: transfer of batches, errors, and their end.

torch transfers each tensor in a piece of shared memory, with an open file. A
transfer that fails is lost in a thread of the worker, and the loader waits for
it forever: where ``/dev/shm`` is full (64 MB in a container), where too many
files are open, where a sample contains something that cannot be pickled. Here
a batch is packed before it is transferred, so an error reaches the run; only
large tensors use shared memory, and without it they use the pipe.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from lungdet.engine.protocols import NamesLargestSample
from lungdet.errors import ConfigError, LungdetError
from lungdet.io.processes import end_with_parent
from lungdet.seeds import Key

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SHARED_MEMORY = Path('/dev/shm')
# smaller tensors are copied faster than their file is opened
MIN_SHARED_BYTES = 2**16
# the fraction of free shared memory, or of open files, for one loader
MAX_FRACTION = 0.5
# of shared memory, for the locks that processes wait with
MIN_FREE_BYTES = 2**20
LATE_EPOCH = 2**31  # after the last one of any training
FROM_WORKER = re.compile(r'Caught (\w+) in DataLoader worker process')


class PackedBatch:
    """A batch as bytes, and its large tensors in shared memory.

    It is unpickled as the batch itself.

    Args:
        batch: Batch from a worker.
        shared: Whether large tensors go through shared memory; if it is full
            they do not.

    Raises:
        ConfigError: Something in it cannot be pickled.
    """

    def __init__(self, batch: Any, *, shared: bool = True) -> None:
        try:
            self.content, self.tensors = _pack(batch, shared)
        except RuntimeError:  # raised by torch if no shared memory is left
            self.content, self.tensors = _pack(batch, False)

    def __reduce__(self) -> tuple:
        return unpack, (self.content, self.tensors)


def unpack(content: bytes, tensors: Sequence[torch.Tensor]) -> Any:
    """The batch that was packed."""
    return _Unpickler(io.BytesIO(content), tensors).load()


class PackingCollate:
    """Collate samples in a worker, and pack them for the transfer.

    Args:
        collate: Collate function of the config, from a list of samples to a
            batch.
        shared: As for a ``PackedBatch``.
    """

    def __init__(
        self, collate: Callable[[list], Any], *, shared: bool = True
    ) -> None:
        self.collate = collate
        self.shared = shared

    def __call__(self, samples: list) -> PackedBatch:
        return PackedBatch(self.collate(samples), shared=self.shared)


class WorkerStart:
    """What a worker does first: make sure that it ends with its parent.

    With torch's own check, a worker whose parent was killed waits until its
    last batches are read.

    Args:
        setup: Function of the config, called with the worker's number, or
            None.
    """

    def __init__(self, setup: Callable[[int], None] | None) -> None:
        self.setup = setup

    def __call__(self, number: int) -> None:
        threading.Thread(target=end_with_parent, daemon=True).start()
        if self.setup is not None:
            self.setup(number)


def start_method() -> str:
    """Start method of workers: fork on Linux only.

    mmengine would fork on macOS too, whose libraries do not support it.
    """
    can_copy = sys.platform == 'linux' and hasattr(os, 'fork')
    return 'fork' if can_copy else 'spawn'


def pack_batches(loader: DataLoader) -> None:
    """Let the workers of a loader pack their batches.

    Logs a warning where shared memory, or the number of open files, is too
    small for the loader, so that its batches go through pipes.

    Args:
        loader: Not yet iterated; its ``collate_fn`` and ``worker_init_fn``
            are wrapped if it has workers.

    Raises:
        ConfigError: No shared memory is left, so that no worker can start.
    """
    if not loader.num_workers:
        return
    free = free_shared_memory()
    if free is not None and free < MIN_FREE_BYTES:
        raise ConfigError(
            f'num_workers: {loader.num_workers}, but {SHARED_MEMORY} has '
            f'{free // 1024} kB left, and processes wait for each other with '
            'some of it. Enlarge it (docker run --shm-size=1g), delete what '
            'is left there, or set num_workers=0.'
        )
    obstacle = _obstacle(*shared_need(loader), loader.num_workers)
    loader.collate_fn = PackingCollate(
        loader.collate_fn, shared=obstacle is None
    )
    loader.worker_init_fn = WorkerStart(loader.worker_init_fn)
    if obstacle is not None:
        print_log(
            f'{obstacle}, or lower num_workers, prefetch_factor or '
            'batch_size; until then batches go through pipes, which is '
            'slower.',
            logger='current',
            level=logging.WARNING,
        )


def shared_need(loader: DataLoader) -> tuple[int, int]:
    """Bytes of shared memory, and files, that batches may take at once.

    One sample is read, the largest if the data set ``NamesLargestSample``, as
    of a late epoch, when crops may be larger. One that cannot be read counts
    as 0; the worker that reads it raises the error.
    """
    dataset: Any = loader.dataset
    if not len(dataset):
        return 0, 0
    names = isinstance(dataset, NamesLargestSample)
    largest = dataset.largest_sample if names else 0
    counter = _Pickler(io.BytesIO(), shared=True)
    try:
        counter.dump(dataset[Key(largest, LATE_EPOCH, 0)])
    except Exception:
        return 0, 0
    # those prefetched, and the one being used
    batches = loader.num_workers * (loader.prefetch_factor or 2) + 1
    samples = batches * getattr(loader.batch_sampler, 'batch_size', 1)
    one = sum(tensor.nbytes for tensor in counter.large)
    return samples * one, samples * len(counter.large)


def free_shared_memory() -> int | None:
    """Free bytes, None if the system has no such folder."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None


def max_open_files() -> int | None:
    """Limit of this process, None if the system sets none."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _obstacle(need: int, files: int, workers: int) -> str | None:
    """Why batches cannot use shared memory, and the remedy."""
    free, max_files = free_shared_memory(), max_open_files()
    if free is not None and need > MAX_FRACTION * free:
        return (
            f'{SHARED_MEMORY}: {free / 2**20:.0f} MB are free, and '
            f'{workers} workers may fill {need / 2**20:.0f} MB; enlarge it '
            f'(docker run --shm-size={need / MAX_FRACTION / 2**20:.0f}m)'
        )
    if max_files is not None and files > MAX_FRACTION * max_files:
        return (
            f'{max_files} files may be open, and {workers} workers may need '
            f'{files} for shared memory; raise that (ulimit -n '
            f'{files / MAX_FRACTION:.0f})'
        )
    return None


@contextmanager
def worker_errors() -> Iterator[None]:
    """Raise errors of workers as they would be raised without workers.

    torch puts the worker's traceback into the message of an error, and says of
    a killed worker only that it was killed.

    Raises:
        LungdetError: As the worker raised it.
        ConfigError: A worker was killed.
    """
    try:
        yield
    except LungdetError as error:
        text = str(error)
        if not FROM_WORKER.match(text):
            raise
        message = text.rpartition(f'{type(error).__name__}: ')[2]
        raise type(error)(message.strip()) from error
    except RuntimeError as error:
        text = ' '.join(str(error).split())
        if not re.match(r'DataLoader worker \(pid', text):
            raise
        raise ConfigError(
            f'num_workers: a process that loads data has ended ({text}); '
            'most often memory was short. Lower num_workers, prefetch_factor '
            'or batch_size of the loader, or continue with num_workers=0.'
        ) from error


def _pack(batch: Any, shared: bool) -> tuple[bytes, list[torch.Tensor]]:
    file = io.BytesIO()
    pickler = _Pickler(file, shared=shared)
    try:
        pickler.dump(batch)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            'num_workers: a worker cannot send its batch, since something in '
            f'it cannot be pickled ({error}). Let the last transform leave it '
            'out, or set num_workers=0.'
        ) from error
    for tensor in pickler.large:
        tensor.share_memory_()
    return file.getvalue(), pickler.large


class _Pickler(pickle.Pickler):
    """Pickle without large tensors; pickle small ones as numpy arrays.

    torch pickles a tensor as a file with a header; for the dozen small ones of
    each sample this takes longer than everything else.
    """

    def __init__(self, file: io.BytesIO, *, shared: bool) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.shared = shared
        self.large: list[torch.Tensor] = []
        self.numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if not self.shared or type(obj) is not torch.Tensor:
            return None
        if obj.is_cuda or obj.nbytes < MIN_SHARED_BYTES:
            return None
        if id(obj) not in self.numbers:
            self.numbers[id(obj)] = len(self.large)
            self.large.append(obj)
        return self.numbers[id(obj)]

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor and not obj.requires_grad:
            try:
                return _from_numpy, (obj.numpy(),)
            except (TypeError, RuntimeError):  # numpy has no such values
                pass
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: io.BytesIO, tensors: Sequence[torch.Tensor]
    ) -> None:
        super().__init__(file)
        self.tensors = tensors

    def persistent_load(self, number: int) -> torch.Tensor:
        return self.tensors[number]


def _from_numpy(array: Any) -> torch.Tensor:
    return torch.from_numpy(array)
