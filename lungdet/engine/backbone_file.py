"""An exported backbone: a safetensors file with its provenance.

Its header says how it was made. Reading it runs no code from the file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lungdet.engine.checkpoint_checks import (
    check_finite_weights,
    check_trained,
)
from lungdet.errors import CheckpointError
from lungdet.io.atomic import atomic_path

BACKBONE_FORMAT = 'lungdet.backbone/2'
CHECKSUM = 'checksum'  # in the header, of provenance and tensors
# keys of every exported file's provenance
PROVENANCE = (
    'method',
    'input_contract',
    'train_series',
    'train_patients',
    'folds',
    'alarms',
)


def export_backbone(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    provenance: dict[str, Any],
) -> None:
    """Write a backbone's tensors and their provenance; no pickle.

    Args:
        path: Path of the safetensors file; written atomically.
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
    text = json.dumps(provenance)
    header = {
        'format': BACKBONE_FORMAT,
        'provenance': text,
        CHECKSUM: checksum_of(tensors, text),
    }
    with atomic_path(path) as aside:
        # save_file would make the file readable by its owner only
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
    check_finite_weights(tensors, path)
    stated = header.get(CHECKSUM)  # early versions wrote none
    if stated not in (None, checksum_of(tensors, header.get('provenance'))):
        raise CheckpointError(
            f'{path}: its checksum differs; the file is damaged or was '
            'edited. Copy it again, or repeat the pre-training.'
        )
    return tensors, _provenance(header, path)


def checksum_of(
    tensors: Mapping[str, torch.Tensor], provenance: str | None
) -> str:
    """CRC-32 of a text and of contiguous tensors with names and shapes."""
    checksum = zlib.crc32((provenance or '').encode())
    for name in sorted(tensors):
        value = tensors[name]
        stated = f'{name} {value.dtype} {tuple(value.shape)}'
        checksum = zlib.crc32(stated.encode(), checksum)
        values = value.reshape(-1).view(torch.uint8).numpy()
        checksum = zlib.crc32(values.data, checksum)
    return str(checksum)


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
