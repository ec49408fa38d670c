"""An exported backbone: a safetensors file with its provenance.

Its header says how it was made. Reading it runs no code from the file.
"""

from __future__ import annotations

import json
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
    header = {'format': BACKBONE_FORMAT, 'provenance': json.dumps(provenance)}
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
