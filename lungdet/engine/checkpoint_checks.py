"""Checks of a file of weights before it is used.

A checkpoint may come from anywhere. Its size is checked before memory is
allocated, and weights that are not finite are refused: a network with such a
weight detects nothing, which looks like a healthy scan.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_parameter_registration_hook,
)

from lungdet.errors import CheckpointError, DivergenceError
from lungdet.io.archive import DAMAGE

# types of the values that only a resume reads
STATE_TYPES: dict[str, tuple[type, ...]] = {
    'state_dict': (dict,),
    'optimizer': (dict,),
    'param_schedulers': (list,),
    'runtime': (dict,),
}
MAX_VALUES = 1_000_000  # of the lists and dicts of a checkpoint
DAMAGED = 'the file is damaged. Give another checkpoint, or train again.'


def check_archive(file: Path) -> None:
    """Refuse a file that is damaged, or whose parts are larger than the file.

    torch stores its parts uncompressed. A compressed one would be unpacked
    into memory, whatever its size. It also stores their checksums, but reads
    without comparing them.

    Raises:
        CheckpointError: Not an archive that torch writes, a part is
            compressed, or a checksum differs.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f'{file}: cannot be read as plain weights ({error}); the file is '
            'cut, or was not written by lungdet.'
        ) from error
    size = sum(part.file_size for part in parts)
    if size > file.stat().st_size or any(
        part.compress_type != zipfile.ZIP_STORED for part in parts
    ):
        raise CheckpointError(
            f'{file}: its parts are compressed, {size:,} bytes when unpacked; '
            'lungdet does not write such files. Unpack it, or give a '
            'checkpoint that lungdet wrote.'
        )
    with zipfile.ZipFile(file) as archive:
        try:
            changed = archive.testzip()
        except (*DAMAGE, OSError) as error:  # e.g. a seek before byte 0
            changed = f'a part ({error})'
    if changed is not None:
        raise CheckpointError(
            f'{file}: the checksum of {changed} differs; {DAMAGED}'
        )


def check_content(content: Any, where: str | Path) -> None:
    """Refuse tensors and lists that are larger than the file.

    Raises:
        CheckpointError: A tensor that repeats its values, or more values
            than a training stores.
    """
    left = MAX_VALUES
    todo = [content]
    while todo:
        value = todo.pop()
        left -= 1
        if left < 0:
            raise CheckpointError(
                f'{where}: holds more than {MAX_VALUES:,} values; {DAMAGED}'
            )
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, list | tuple):
            todo.extend(value)
        elif isinstance(value, torch.Tensor):
            stored = value.untyped_storage().nbytes()
            if value.numel() * value.element_size() > stored:
                raise CheckpointError(
                    f'{where}: a tensor of the sizes {tuple(value.shape)} has '
                    f'only {stored:,} bytes in the file; {DAMAGED}'
                )


def check_types(
    values: Mapping[str, Any],
    types: Mapping[str, tuple[type, ...]],
    where: str | Path,
    prefix: str = '',
) -> None:
    """Refuse values of other types than a training writes.

    Args:
        values: By key; those without a type are not checked.
        types: By key.
        where: The file, for the message.
        prefix: Prefix of the keys, for the message.

    Raises:
        CheckpointError: With the name of the value.
    """
    for key, known in types.items():
        if key in values and not isinstance(values[key], known):
            raise CheckpointError(
                f'{where}: {prefix}{key} is a {type(values[key]).__name__}, '
                f'not a {known[0].__name__}; {DAMAGED}'
            )


def check_weights(checkpoint: Mapping[str, Any], where: str | Path) -> None:
    """Refuse weights and state that are not what a training writes.

    Raises:
        CheckpointError: With the name of the value.
    """
    check_types(checkpoint, STATE_TYPES, where)
    check_types(checkpoint, {'ema_state_dict': (dict,)}, where)
    weights = {
        **checkpoint.get('ema_state_dict', {}),
        **checkpoint.get('state_dict', {}),
    }
    for name, value in weights.items():
        if not isinstance(value, torch.Tensor) or not isinstance(name, str):
            raise CheckpointError(
                f'{where}: state_dict[{name!r}] is a '
                f'{type(value).__name__}, not a Tensor; {DAMAGED}'
            )


def check_complete(
    values: Mapping[str, Any],
    keys: Iterable[str],
    where: str | Path,
    prefix: str = '',
) -> None:
    """Refuse a checkpoint that lacks a key that a training writes.

    Raises:
        CheckpointError: Keys are missing; the message names them.
    """
    if missing := [f'{prefix}{key}' for key in keys if key not in values]:
        raise CheckpointError(
            f'{where}: has no {", ".join(missing)}; {DAMAGED}'
        )


def not_finite(tensors: Mapping[str, Any]) -> list[str]:
    """Names of tensors with a NaN or an infinity."""
    return [
        name
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor)
        and not bool(torch.isfinite(value).all())
    ]


def check_finite_weights(
    tensors: Mapping[str, Any], where: str | Path
) -> None:
    """Refuse to read weights that are not finite.

    Raises:
        CheckpointError: With the names of the tensors.
    """
    if names := not_finite(tensors):
        raise CheckpointError(
            f'{where}: {_listed(names)} not finite (NaN or infinity), so the '
            'network would find nothing anywhere. Give an earlier checkpoint, '
            'or train again with a lower learning rate.'
        )


def check_trained(tensors: Mapping[str, Any], where: str | Path) -> None:
    """Refuse to write weights that are not finite.

    Raises:
        DivergenceError: With the names of the tensors.
    """
    if names := not_finite(tensors):
        raise DivergenceError(
            f'{where}: is not written, since {_listed(names)} not finite (NaN '
            'or infinity). Lower the learning rate, and resume from the '
            'checkpoint before.'
        )


def _listed(names: list[str]) -> str:
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    verb = 'is' if len(names) == 1 else 'are'
    return f'{", ".join(names[:3])}{more} {verb}'


@contextmanager
def no_larger_than(
    tensors: Mapping[str, torch.Tensor], where: str | Path
) -> Iterator[None]:
    """Stop building a network that is larger than the file's weights.

    A file may describe a network of a million blocks; building stops at the
    first excess parameter, before it allocates memory.

    Args:
        tensors: Tensors of the file.
        where: The file, for the message.

    Raises:
        CheckpointError: The network has more parameters, or more values in
            them.
    """
    left = {
        # twice: a class may create a parameter again
        'tensors': 2 * len(tensors),
        'values': 2 * sum(value.numel() for value in tensors.values()),
    }

    def count(module: torch.nn.Module, name: str, parameter: Any) -> None:
        left['tensors'] -= 1
        left['values'] -= parameter.numel() if parameter is not None else 0
        if min(left.values()) < 0:
            raise CheckpointError(
                f'{where}: describes a network that is larger than the '
                f'{len(tensors)} tensors in the file; {DAMAGED}'
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
