"""Checkpoints: what is in them, what fits, and a detector from one file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lungdet.errors import CheckpointError
from lungdet.registry import MODELS, TASK_UTILS, build_model

FORMAT = 'lungdet.checkpoint/2'
MIN_MATCH = 0.9  # share of the model's parameters that a file must fill


def resolve_checkpoint(path: str | Path) -> Path:
    """A checkpoint file from a file, a work folder or ``last_checkpoint``.

    Names are stored without folders, so a work folder can be moved.

    Raises:
        FileNotFoundError: Nothing there. A file that was named is never
            replaced by another.
    """
    path = Path(path)
    if path.is_file() and path.name != 'last_checkpoint':
        return path
    found = None
    if path.is_dir() or path.name == 'last_checkpoint':
        found = newest_checkpoint(path if path.is_dir() else path.parent)
    if found is None:
        there = sorted(f.name for f in path.parent.glob('[!.]*.pth'))
        near = f' In its folder are {", ".join(there)}.' if there else ''
        raise FileNotFoundError(
            f'{path}: no checkpoint there; train first, or give the file.'
            f'{near}'
        )
    return found


def newest_checkpoint(folder: Path) -> Path | None:
    """The file that ``last_checkpoint`` names, else the newest readable one.

    A run that was killed in a save leaves a half-written, hidden file; it
    does not count.
    """
    pointer = folder / 'last_checkpoint'
    if pointer.is_file():
        named = folder / Path(pointer.read_text().strip()).name
        if named.is_file():
            return named
    files = sorted(folder.glob('[!.]*.pth'), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        try:
            load_plain(file)
        except CheckpointError as error:
            warnings.warn(f'{error} It is passed over.', stacklevel=2)
            continue
        warnings.warn(
            f'{pointer}: names no file that is there; taking {file.name}, '
            'the newest.',
            stacklevel=2,
        )
        return file
    return None


def load_plain(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Raises:
        CheckpointError: Not readable, or not written by lungdet.
        FileNotFoundError: Nothing there.
    """
    file = resolve_checkpoint(path)
    try:
        checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f'{file}: cannot be read as plain weights ({type(error).__name__}'
            '); the file is cut, or was not written by lungdet.'
        ) from error
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or meta.get('format') != FORMAT:
        raise CheckpointError(
            f'{file}: format is not {FORMAT!r}; it was not written by this '
            'version of lungdet.'
        )
    return checkpoint


def report_match(
    model: torch.nn.Module, state: dict[str, torch.Tensor], where: str
) -> str:
    """Compare names and shapes before anything is copied.

    Returns:
        One line of numbers.

    Raises:
        CheckpointError: Less than 90 % of the model's parameters match.
    """
    own = model.state_dict()
    good = [k for k in own if k in state and own[k].shape == state[k].shape]
    missing = [k for k in own if k not in state]
    other = [k for k in state if k not in own]
    total = sum(value.numel() for value in own.values())
    share = sum(own[k].numel() for k in good) / max(total, 1)
    misshaped = len(own) - len(good) - len(missing)
    line = (
        f'{where}: {len(good)} of {len(own)} tensors match ({share:.1%} of '
        f'the values), {len(missing)} missing, {misshaped} of another shape, '
        f'{len(other)} not in the model'
    )
    if share < MIN_MATCH:
        example = (missing or other or ['shapes differ'])[0]
        raise CheckpointError(
            f'{line}; first: {example!r}. The file belongs to another model; '
            'give the config it was trained with.'
        )
    return line


def load_detector(
    path: str | Path, *, device: str = 'cpu'
) -> tuple[torch.nn.Module, dict]:
    """Build and load the detector a checkpoint describes.

    Returns:
        The model in evaluation mode, and ``window``, ``spacing_mm``.

    Raises:
        CheckpointError: As ``load_plain``; not of a detector; or of classes
            that are not registered. Nothing is imported to find them.
    """
    checkpoint = load_plain(path)
    meta = checkpoint['meta']
    if 'model' not in meta:
        raise CheckpointError(
            f'{path}: does not describe its model; give a checkpoint of '
            'tools/train.py.'
        )
    _check_types(meta, str(path))
    model = build_model(meta['model'])
    if not hasattr(model, 'predict_case'):
        raise CheckpointError(
            f'{path}: holds a {meta["model"]["type"]}, which finds no '
            'nodules; train a detector from its backbone and give that.'
        )
    report_match(model, checkpoint['state_dict'], str(path))
    model.load_state_dict(checkpoint['state_dict'])
    model.set_epoch(meta['epoch_in_progress'])
    model.to(device).eval()
    return model, {
        'window': model.data_preprocessor.window,
        'spacing_mm': meta['spacing_mm'] or 1.0,
    }


def _check_types(meta: dict, where: str) -> None:
    """Refuse a model with a class that is not registered.

    A checkpoint is data: nothing is imported because it says so.
    """
    for name in _types(meta['model']):
        if not (
            isinstance(name, str)
            and (MODELS.get(name) or TASK_UTILS.get(name))
        ):
            imports = meta.get('imports')
            remedy = (
                f'It was trained with custom_imports {imports}: import them '
                'first, on the command line by --import.'
                if imports
                else 'It was not written by this version of lungdet.'
            )
            raise CheckpointError(
                f'{where}: its model holds a {name!r}, which is not '
                f'registered. {remedy}'
            )


def _types(value: Any) -> Iterator[Any]:
    """Every ``type`` of a nested config, and scopes that would be entered."""
    if isinstance(value, dict):
        yield from (value[key] for key in ('type', '_scope_') if key in value)
        # initial weights are not built for a model that gets its own
        inner = [v for key, v in value.items() if key != 'init_cfg']
    else:
        inner = value if isinstance(value, list) else []
    for item in inner:
        yield from _types(item)
