"""Checkpoints of a training: their format, and reading, writing, choosing one.

A checkpoint is a ``.pth`` of plain values: weights, optimiser, counters, and a
``meta`` that describes them. Reading it runs no code from the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

import lungdet
from lungdet.engine.checkpoint_checks import (
    check_archive,
    check_complete,
    check_content,
    check_finite_weights,
    check_trained,
    check_types,
    check_weights,
)
from lungdet.engine.input_contract import InputContract
from lungdet.engine.release import (
    SUFFIX,
    only_release,
    read_release,
    releases_in,
    shipped_releases,
    tensors_beside,
)
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import CheckpointError
from lungdet.io.atomic import atomic_path

CHECKPOINT_FORMAT = 'lungdet.checkpoint/2'
NUMBERED = re.compile(r'(epoch|iter)_\d+\.pth')
# weights in a checkpoint: averaged ones, if any, come first
STATES = ('state_dict', 'ema_state_dict')
# types of the values of a checkpoint's ``meta``
META_TYPES: dict[str, tuple[type, ...]] = {
    'format': (str,),
    'epoch': (int,),
    'iter': (int,),
    'epoch_in_progress': (int,),
    'epoch_length': (int,),
    'seed': (int, type(None)),
    'schedule': (dict,),
    'val_owed': (bool,),
    'model': (dict,),
    'imports': (list, str),
    'input_contract': (dict,),
    'train_series': (list,),
    'train_patients': (list,),
    'folds': (str, type(None)),
    'pretraining': (dict, type(None)),
    'lungdet_version': (str,),
}
POINTER = 'last_checkpoint'  # file with the name of the newest
MAX_NAME = 255  # bytes of a file's name


@dataclass(frozen=True)
class CheckpointMeta:
    """What a checkpoint says about its training, besides weights and state.

    It is written and read here only, under the keys of ``META_TYPES``.

    Attributes:
        epoch: Epochs done.
        iter: Steps done.
        epoch_in_progress: The epoch, from 1, that decides which heads have
            started.
        epoch_length: Steps of an epoch.
        seed: Seed of the run.
        schedule: Config values that the stored state replaces, see
            ``training_schedule``.
        val_owed: Whether a validation was due.
        model: Config of the network.
        imports: The config's ``custom_imports``, for the network's classes.
        input_contract: Input contract of the network and its data.
        scans: What the weights were trained on.
        pretraining: Provenance of the backbone that it started from.
        lungdet_version: Version that wrote it.
    """

    epoch: int
    iter: int
    epoch_in_progress: int
    epoch_length: int
    seed: int | None
    schedule: dict[str, Any]
    val_owed: bool
    model: dict[str, Any]
    imports: list[str] | str
    input_contract: InputContract
    scans: TrainingScans
    pretraining: dict[str, Any] | None = None
    lungdet_version: str = lungdet.__version__

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint's ``meta``."""
        values = dict(vars(self))
        del values['scans']
        return {
            **values,
            'format': CHECKPOINT_FORMAT,
            'input_contract': self.input_contract.to_dict(),
            **self.scans.to_dict(),
        }

    @classmethod
    def of(
        cls, checkpoint: Mapping[str, Any], where: str | Path
    ) -> CheckpointMeta:
        """The ``meta`` of a checkpoint.

        Args:
            checkpoint: As ``read_checkpoint`` returns it.
            where: The file, for the message.

        Raises:
            CheckpointError: A key is missing, or its value damaged.
        """
        meta = checkpoint['meta']
        check_complete(meta, META_TYPES, where, 'meta.')
        names = {field.name for field in fields(cls)} & META_TYPES.keys()
        return cls(
            **{
                **{name: meta[name] for name in names},
                'input_contract': InputContract.from_dict(
                    meta['input_contract']
                ),
                'scans': TrainingScans.from_dict(meta),
            }
        )


def resolve_checkpoint(path: str | Path) -> Path:
    """The file of a checkpoint or release.

    Names are stored without folders, so a work folder can be moved.

    Args:
        path: A file; a work folder or its ``last_checkpoint``; a folder with
            one release; the JSON of a release; or, unless a file or folder is
            called the same, the name of a release that comes with lungdet.

    Raises:
        FileNotFoundError: There is no such file. A named file is never
            replaced by another one.
        CheckpointError: A folder with several releases, the JSON of one
            without its tensors, or as ``newest_checkpoint``.
    """
    path = Path(path)
    file: Path | None
    if path.name == POINTER and not path.is_dir():
        file = newest_checkpoint(path.parent)
    elif path.is_dir():
        trained = any(path.glob('[!.]*.pth'))
        file = newest_checkpoint(path) if trained else only_release(path)
    elif path.suffix == '.json' and path.is_file():
        file = tensors_beside(path)
    else:
        file = path if path.is_file() else shipped_releases().get(str(path))
    if file is None:
        raise FileNotFoundError(_nothing_at(path))
    return file


def _nothing_at(path: Path) -> str:
    """The message that a path leads to no checkpoint."""
    releases = [file.name for file in releases_in(path.parent).values()]
    there = sorted(f.name for f in path.parent.glob('[!.]*.pth')) + releases
    near = f' In its folder are {", ".join(there)}.' if there else ''
    shipped = ', '.join(shipped_releases()) or 'none'
    return (
        f'{path}: no checkpoint there; train first, or give the file. '
        f'Detectors that come with lungdet, by name: {shipped}.{near}'
    )


def newest_checkpoint(folder: Path) -> Path | None:
    """The file that ``last_checkpoint`` names, else the newest readable one.

    A run killed while saving leaves a half-written, hidden file, which is
    ignored.

    Raises:
        CheckpointError: The named file cannot be read; the message names the
            newest one that can.
    """
    pointer = folder / POINTER
    named = _named_by(pointer)
    files = sorted(folder.glob('[!.]*.pth'), key=lambda f: f.stat().st_mtime)
    cut = None
    for file in [named] if named else reversed(files):
        try:
            read_checkpoint(file)
        except CheckpointError as error:
            if named:
                cut = error
                continue
            warnings.warn(f'{error} It is skipped.', stacklevel=2)
            continue
        if named is None:
            warnings.warn(
                f'{pointer}: names no existing checkpoint; taking '
                f'{file.name}, the newest.',
                stacklevel=2,
            )
        return file
    if cut is not None:
        raise CheckpointError(f'{cut}{_older_one(files, named)}') from cut
    return None


def _named_by(pointer: Path) -> Path | None:
    """The checkpoint that a ``last_checkpoint`` names, if it exists."""
    if not pointer.is_file():
        return None
    with open(pointer, 'rb') as file:
        text = file.read(MAX_NAME).decode(errors='replace').strip()
    name = Path(text).name
    if not name.isprintable() or not name.endswith('.pth'):
        return None
    file_named = pointer.parent / name
    return (
        file_named if len(name) < MAX_NAME and file_named.is_file() else None
    )


def _older_one(files: list[Path], cut: Path | None) -> str:
    """The end of a message: the newest readable file."""
    for file in reversed(files):
        if file != cut:
            try:
                read_checkpoint(file)
            except CheckpointError:
                continue
            return f' {file} is older and whole: give that.'
    return ''


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Numbered files of a training, oldest first; only these are pruned."""
    files = [
        path for path in folder.glob('*.pth') if NUMBERED.fullmatch(path.name)
    ]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)


def write_checkpoint(path: str | Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: Path of the file.
        checkpoint: ``meta``, ``state_dict`` and the state for a resume.

    Raises:
        DivergenceError: A weight is not finite.
    """
    for key in STATES:
        check_trained(checkpoint.get(key, {}), path)
    with atomic_path(path) as aside:
        torch.save(checkpoint, aside)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint or release, given as for ``resolve_checkpoint``.

    Raises:
        CheckpointError: Not readable, not written by this version, damaged,
            or with weights that are not finite.
        FileNotFoundError: There is no such file.
    """
    file = resolve_checkpoint(path)
    checkpoint = (
        read_release(file) if file.suffix == SUFFIX else _load_plain(file)
    )
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or meta.get('format') != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f'{file}: format is not {CHECKPOINT_FORMAT!r}; it was not written '
            'by this version of lungdet. Train again.'
        )
    check_content(checkpoint, file)
    check_complete(checkpoint, ('state_dict',), file)
    check_types(meta, META_TYPES, file, 'meta.')
    check_weights(checkpoint, file)
    for key in STATES:
        check_finite_weights(checkpoint.get(key, {}), file)
    return checkpoint


def _load_plain(file: Path) -> Any:
    """The content of a ``.pth``, which must be plain values and tensors."""
    check_archive(file)
    try:
        return torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f'{file}: cannot be read as plain weights ({type(error).__name__}'
            '); the file is cut, or was not written by lungdet.'
        ) from error
