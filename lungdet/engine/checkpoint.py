"""Files of weights: reading, writing, choosing one, and loading it.

A training's checkpoint is a ``.pth`` of plain values: weights, optimiser,
counters, and a ``meta`` that describes them. An exported backbone is a
safetensors file whose header says how it was made, its ``provenance``.
Reading either runs no code of the file.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lungdet.engine.checkpoint_checks import (
    check_archive,
    check_content,
    check_finite,
    check_meta,
    check_trained,
)
from lungdet.engine.protocols import BlockPlugin
from lungdet.errors import CheckpointError
from lungdet.io.atomic import atomic_path

CHECKPOINT_FORMAT = 'lungdet.checkpoint/2'
BACKBONE_FORMAT = 'lungdet.backbone/2'
NUMBERED = re.compile(r'(epoch|iter)_\d+\.pth')
# keys of every exported file's provenance
PROVENANCE = (
    'method',
    'input_contract',
    'train_series',
    'train_patients',
    'folds',
    'alarms',
)
MIN_VALUES = 0.9  # fraction of a module's values that a file must fill
MIN_TENSORS = 0.95  # fraction of its tensors: norms and gates have few values
MAX_LISTED = 20  # names in a message
# weights in a checkpoint: averaged ones, if any, come first
STATES = ('state_dict', 'ema_state_dict')
POINTER = 'last_checkpoint'  # file with the name of the newest
MAX_NAME = 255  # bytes of a file's name


def resolve_checkpoint(path: str | Path) -> Path:
    """A checkpoint file from a file, a work folder or ``last_checkpoint``.

    Names are stored without folders, so a work folder can be moved.

    Raises:
        FileNotFoundError: There is no such file. A named file is never
            replaced by another one.
    """
    path = Path(path)
    if path.is_file() and path.name != POINTER:
        return path
    newest = None
    if path.is_dir() or path.name == POINTER:
        newest = newest_checkpoint(path if path.is_dir() else path.parent)
    if newest is None:
        there = sorted(f.name for f in path.parent.glob('[!.]*.pth'))
        near = f' In its folder are {", ".join(there)}.' if there else ''
        raise FileNotFoundError(
            f'{path}: no checkpoint there; train first, or give the file.'
            f'{near}'
        )
    return newest


def newest_checkpoint(folder: Path) -> Path | None:
    """The file that ``last_checkpoint`` names, else the newest readable one.

    A run that was killed in a save leaves a half-written, hidden file, which
    is ignored.

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
                f'{pointer}: names no checkpoint that is there; taking '
                f'{file.name}, the newest.',
                stacklevel=2,
            )
        return file
    if cut is not None:
        raise CheckpointError(f'{cut}{_older_one(files, named)}') from cut
    return None


def _named_by(pointer: Path) -> Path | None:
    """The checkpoint that a ``last_checkpoint`` names, if it is there."""
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
    """Part of a message: the newest readable file."""
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
        path: Of the file.
        checkpoint: ``meta``, ``state_dict`` and the state for a resume.

    Raises:
        DivergenceError: A weight is not finite.
    """
    for key in STATES:
        check_trained(checkpoint.get(key, {}), path)
    with atomic_path(path) as aside:
        torch.save(checkpoint, aside)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, given as for ``resolve_checkpoint``.

    Raises:
        CheckpointError: Not readable, not written by this version, damaged,
            or with weights that are not finite.
        FileNotFoundError: Nothing there.
    """
    file = resolve_checkpoint(path)
    check_archive(file)
    try:
        checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f'{file}: cannot be read as plain weights ({type(error).__name__}'
            '); the file is cut, or was not written by lungdet.'
        ) from error
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or meta.get('format') != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f'{file}: format is not {CHECKPOINT_FORMAT!r}; it was not written '
            'by this version of lungdet. Train again.'
        )
    check_content(checkpoint, file)
    check_meta(checkpoint, file)
    for key in STATES:
        check_finite(checkpoint.get(key, {}), file)
    return checkpoint


def export_backbone(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    provenance: dict[str, Any],
) -> None:
    """Write a backbone's tensors and their provenance; no pickle.

    Args:
        path: Of the safetensors file; written atomically.
        state: The backbone's ``state_dict``, names without a prefix.
        provenance: JSON values, read back by ``read_backbone``.

    Raises:
        DivergenceError: A weight is not finite.
    """
    check_trained(state, path)
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in state.items()
    }
    header = {'format': BACKBONE_FORMAT, 'provenance': json.dumps(provenance)}
    with atomic_path(path) as aside:
        # save_file would make it readable by its owner only
        aside.write_bytes(save(tensors, metadata=header))


def read_backbone(
    path: str | Path,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and provenance of an exported file.

    Raises:
        FileNotFoundError: Not there.
        CheckpointError: Not an exported backbone.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such weights; check the path.')
    try:
        with safe_open(path, 'pt') as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(
            f'{path}: not a safetensors file ({error}); give the '
            'backbone.safetensors that pre-training wrote.'
        ) from error
    if header.get('format') != BACKBONE_FORMAT:
        raise CheckpointError(
            f'{path}: format {header.get("format")!r}, not '
            f'{BACKBONE_FORMAT!r}; it does not say what it was trained on. '
            'Give the backbone.safetensors that pre-training of this version '
            'wrote.'
        )
    check_finite(tensors, path)
    return tensors, _provenance(header, path)


def _provenance(header: Mapping[str, str], path: str | Path) -> dict[str, Any]:
    """The provenance in an exported backbone's header."""
    try:
        provenance = json.loads(header['provenance'])
        missing = [key for key in PROVENANCE if key not in provenance]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f'{path}: its provenance cannot be read ({type(error).__name__}), '
            'so it is not known what it was trained on. Give the '
            'backbone.safetensors that pre-training wrote.'
        ) from error
    if missing or not isinstance(provenance, dict):
        raise CheckpointError(
            f'{path}: its provenance lacks {", ".join(missing) or "keys"}, so '
            'it is not known what it was trained on. Give the '
            'backbone.safetensors that pre-training wrote.'
        )
    return provenance


def fill_module(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    where: str | Path,
    *,
    min_tensors: float = MIN_TENSORS,
    needed: Collection[str] = (),
) -> str:
    """Copy the tensors that fit by name and shape, if they are enough.

    Args:
        module: Not changed if too little fits.
        tensors: By the module's names.
        where: Source of the tensors, for the message.
        min_tensors: Fraction of the module's tensors that must be filled,
            besides ``MIN_VALUES`` of its values. 0 if the module may have new
            gates, which are many tensors of few values.
        needed: Names of tensors that must all be filled: a test must not run
            with random weights.

    Returns:
        One line of numbers.

    Raises:
        CheckpointError: Too little fits; the message lists what is missing.
            Or a value is not finite.
    """
    check_finite(tensors, where)
    state = module.state_dict()
    fitting = {k: v for k, v in tensors.items() if _fits(v, state.get(k))}
    total = sum(value.numel() for value in state.values())
    filled = sum(value.numel() for value in fitting.values()) / max(total, 1)
    line = (
        f'{where}: fills {len(fitting)} of {len(state)} tensors '
        f'({filled:.1%} of the values), {len(tensors) - len(fitting)} of the '
        'file are not used'
    )
    if filled < MIN_VALUES or len(fitting) < min_tensors * len(state):
        missing = [
            k + (' (another shape)' if k in tensors else '')
            for k in state
            if k not in fitting
        ]
        raise CheckpointError(
            f'{line}; at least {MIN_VALUES:.0%} of the values and '
            f'{min_tensors:.0%} of the tensors must be filled. Missing: '
            f'{_first(missing, MAX_LISTED)}. Use the network, with the '
            'plugins, that the weights were trained with.'
        )
    if lacking := [name for name in needed if name not in fitting]:
        raise CheckpointError(
            f'{line}; without {_first(lacking, 1)} the network would run with '
            'random weights. Use the network that the weights were trained '
            'with, and a whole checkpoint.'
        )
    module.load_state_dict(fitting, strict=False)
    return line


def _fits(value: Any, other: torch.Tensor | None) -> bool:
    return other is not None and value.shape == other.shape


def _first(names: list[str], number: int) -> str:
    more = len(names) - number
    return ', '.join(names[:number]) + (
        f' and {more} more' if more > 0 else ''
    )


def tensors_outside_plugins(module: torch.nn.Module) -> list[str]:
    """Names of a network's tensors without those of its plugins.

    New plugins may be added to weights where they start as the identity,
    which the input contract checks.
    """
    plugins = tuple(
        f'{name}.'
        for name, part in module.named_modules()
        if isinstance(part, BlockPlugin)
    )
    return [k for k in module.state_dict() if not k.startswith(plugins)]
