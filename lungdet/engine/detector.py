"""Loading a detector from a checkpoint, for inference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lungdet.engine.checkpoint import (
    CheckpointMeta,
    read_checkpoint,
    resolve_checkpoint,
)
from lungdet.engine.checkpoint_checks import (
    STATE_TYPES,
    check_complete,
    no_larger_than,
)
from lungdet.engine.input_contract import InputContract
from lungdet.engine.partial_load import fill_module
from lungdet.engine.protocols import CaseDetector, FollowsEpochs
from lungdet.errors import CheckpointError
from lungdet.io.digests import sha256_of
from lungdet.registry import MODELS, TASK_UTILS, build_model
from lungdet.structures import ModelInfo

DEFAULT_SPACING_MM = 1.0  # of cases, if weights do not state it


class LoadedDetector(NamedTuple):
    """A detector from a file.

    Attributes:
        model: In evaluation mode.
        contract: What it expects of its input.
        info: Its name and digests, for results.
    """

    model: torch.nn.Module
    contract: InputContract
    info: ModelInfo


def load_detector(path: str | Path, *, device: str = 'cpu') -> LoadedDetector:
    """Build and load the detector that a checkpoint or a release describes.

    Raises:
        CheckpointError: As ``read_checkpoint``; not a detector; or a class is
            not registered, since nothing is imported to find it.
    """
    path = resolve_checkpoint(path)
    checkpoint = read_checkpoint(path)
    meta = CheckpointMeta.of(checkpoint, path)
    _check_types(meta, str(path))
    check_complete(checkpoint, STATE_TYPES, path)
    state = checkpoint['state_dict']
    model = _build(meta, state, path)
    if not isinstance(model, CaseDetector):
        raise CheckpointError(
            f'{path}: holds a {meta.model["type"]}, which detects no '
            'nodules; train a detector from its backbone and give that.'
        )
    if surplus := sorted(state.keys() - model.state_dict().keys()):
        raise CheckpointError(
            f'{path}: holds {len(surplus)} tensors that its own network does '
            f'not have, such as {surplus[0]}; the file is damaged. Give '
            'another checkpoint.'
        )
    fill_module(model, state, path, min_tensors=1.0)
    if isinstance(model, FollowsEpochs):
        model.set_epoch(meta.epoch_in_progress)
    model.to(device).eval()
    return LoadedDetector(
        model, meta.input_contract, _info(checkpoint, meta, path)
    )


def _info(
    checkpoint: Mapping[str, Any], meta: CheckpointMeta, path: Path
) -> ModelInfo:
    contract = meta.input_contract
    release = checkpoint.get('release') or {}
    config = {'model': meta.model, 'input_contract': contract.to_dict()}
    text = json.dumps(config, sort_keys=True)
    return ModelInfo(
        name=release.get('name', meta.model['type']),
        version=release.get('version', f'{meta.epoch} epochs'),
        weights=path.name,
        weights_sha256=sha256_of(path),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        window=contract.window,
        spacing_mm=contract.spacing_mm or DEFAULT_SPACING_MM,
    )


def _build(
    meta: CheckpointMeta, state: Mapping[str, torch.Tensor], path: str | Path
) -> torch.nn.Module:
    """The network that a checkpoint describes, no larger than its weights."""
    try:
        with no_larger_than(state, path):
            return build_model(meta.model)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f'{path}: the network that it describes cannot be built '
            f'({type(error).__name__}: {error}). The file is damaged, or was '
            'written by another version of lungdet; train again.'
        ) from error


def _check_types(meta: CheckpointMeta, where: str) -> None:
    """Refuse a model with a class that is not registered.

    A checkpoint is data: it cannot cause imports.
    """
    for name in _types(meta.model):
        if not (
            isinstance(name, str)
            and (MODELS.get(name) or TASK_UTILS.get(name))
        ):
            remedy = (
                f'It was trained with custom_imports {meta.imports}: import '
                'them first, on the command line by --import.'
                if meta.imports
                else 'It was not written by this version of lungdet.'
            )
            raise CheckpointError(
                f'{where}: its model holds a {name!r}, which is not '
                f'registered. {remedy}'
            )


def _types(value: Any) -> Iterator[Any]:
    """Every ``type`` in a nested config, and every scope."""
    if isinstance(value, dict):
        yield from (value[key] for key in ('type', '_scope_') if key in value)
        # initial weights are not needed for a model that is loaded
        inner = [v for key, v in value.items() if key != 'init_cfg']
    else:
        inner = value if isinstance(value, list) else []
    for item in inner:
        yield from _types(item)
