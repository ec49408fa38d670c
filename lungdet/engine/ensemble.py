"""Several checkpoints as the checkpoint of one ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lungdet.engine.checkpoint import CheckpointMeta, read_checkpoint
from lungdet.engine.provenance import TrainingScans
from lungdet.errors import CheckpointError


def join_checkpoints(paths: Sequence[str | Path]) -> dict[str, Any]:
    """Join checkpoints to one whose network contains those of all.

    It can be tested and used for inference like any other, and states the
    training scans of all.

    Args:
        paths: Paths of the checkpoints, as ``resolve_checkpoint`` takes them.

    Returns:
        What ``write_checkpoint`` writes. The model's ``epochs`` are the epochs
        in progress of each, which decide which heads have started.

    Raises:
        CheckpointError: One cannot be read, or takes another input than the
            first.
        FileNotFoundError: One is not there.
    """
    checkpoints = [read_checkpoint(one) for one in paths]
    metas = [
        CheckpointMeta.of(checkpoint, where)
        for checkpoint, where in zip(checkpoints, paths)
    ]
    for meta, where in zip(metas, paths):
        if meta.input_contract != metas[0].input_contract:
            raise CheckpointError(
                f'{where}: its weights take other input than those of '
                f'{paths[0]} (HU window, spacing or plugins), so they cannot '
                'be joined. Give checkpoints of one config.'
            )
    epochs = [meta.epoch_in_progress for meta in metas]
    state = {
        f'members.{number}.{name}': value
        for number, checkpoint in enumerate(checkpoints)
        for name, value in checkpoint['state_dict'].items()
    }
    meta = replace(
        metas[0],
        model=ensemble_config([meta.model for meta in metas], epochs),
        scans=metas[0].scans.after(*(meta.scans for meta in metas[1:])),
        pretraining=_pretraining(metas),
    )
    return {
        'meta': meta.to_dict(),
        'state_dict': state,
        'optimizer': {},
        'param_schedulers': [],
        'runtime': {},
    }


def ensemble_config(
    models: Sequence[dict[str, Any]], epochs: Sequence[int]
) -> dict[str, Any]:
    """Config of the network that contains several."""
    return {
        'type': 'EnsembleDetector',
        'members': list(models),
        'epochs': list(epochs),
    }


def _pretraining(metas: Sequence[CheckpointMeta]) -> dict[str, Any] | None:
    """The first provenance of a backbone, with the scans of all."""
    known = [m.pretraining for m in metas if m.pretraining is not None]
    if not known:
        return None
    first, *others = (TrainingScans.from_dict(one) for one in known)
    return {**known[0], **first.after(*others).to_dict()}
