"""Weights from pre-training: where they come from, and what they fit.

An exported file is a safetensors file of the backbone alone. Its header says
how it was made, its ``provenance``; a detector that starts from it carries
that on in its checkpoints.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lungdet.errors import CheckpointError
from lungdet.io.atomic import atomic_path

FORMAT = 'lungdet.backbone/2'
MIN_FILLED = 0.95  # part of the backbone's tensors that a file must fill
MAX_LISTED = 20  # names in a message
# names of a run's last alarms, by steps and by validation: one must not
# replace the other
ALARMS = ('train_alarms', 'val_alarms')


def export_backbone(
    path: str | Path, backbone: torch.nn.Module, provenance: dict[str, Any]
) -> None:
    """Write a backbone's tensors and their provenance; no pickle.

    Args:
        path: Of the safetensors file; replaced only when it is whole.
        backbone: Its state is written, names without a prefix.
        provenance: JSON values, read back by ``read_backbone``.
    """
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in backbone.state_dict().items()
    }
    header = {'format': FORMAT, 'provenance': json.dumps(provenance)}
    with atomic_path(path) as aside:
        # save_file would make it readable for its owner alone
        aside.write_bytes(save(tensors, metadata=header))


def read_backbone(
    path: str | Path,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and provenance of an exported file.

    Raises:
        FileNotFoundError: Not there.
        CheckpointError: Not such a file.
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
    if header.get('format') != FORMAT:
        raise CheckpointError(
            f'{path}: format {header.get("format")!r}, not {FORMAT!r}; it '
            'does not say what it was trained on. Give the '
            'backbone.safetensors that pre-training of this version wrote.'
        )
    return tensors, json.loads(header['provenance'])


def fill_backbone(
    backbone: torch.nn.Module, tensors: dict[str, torch.Tensor], where: str
) -> str:
    """Copy the tensors that fit by name and shape.

    Returns:
        One line of numbers.

    Raises:
        CheckpointError: Less than 95 % of the backbone's tensors are filled;
            the message lists what is missing.
    """
    own = backbone.state_dict()
    good = {
        name: value
        for name, value in tensors.items()
        if name in own and own[name].shape == value.shape
    }
    lacking = [
        name + (' (another shape)' if name in tensors else '')
        for name in own
        if name not in good
    ]
    line = (
        f'{where}: fills {len(good)} of {len(own)} tensors of the backbone, '
        f'{len(tensors) - len(good)} of the file are not used'
    )
    if len(good) < MIN_FILLED * len(own):
        more = len(lacking) - MAX_LISTED
        raise CheckpointError(
            f'{line}; at least {MIN_FILLED:.0%} must be filled. Missing: '
            f'{", ".join(lacking[:MAX_LISTED])}'
            f'{f" and {more} more" if more > 0 else ""}. Pre-train the same '
            'backbone, with the same plugins.'
        )
    backbone.load_state_dict(good, strict=False)
    return line


def missing_weights(
    pretrained: Mapping[str, str], config: Mapping[str, Any]
) -> str:
    """What to say where the weights of a config are not there yet.

    Args:
        pretrained: The config's ``pretrained``.
        config: The config; its data and its split go into the command.
    """
    weights = Path(pretrained['weights'])
    absent = (
        f'{weights}: not there, and this config starts from pre-trained '
        'weights.'
    )
    source = pretrained.get('config')
    if source is None:
        return (
            f'{absent} Give the backbone.safetensors that pre-training wrote, '
            'or name the config that makes it by pretrained.config.'
        )
    # a pre-training that was stopped has its checkpoints there
    command = ['python', 'tools/train.py', source, '--resume']
    command += ['--work-dir', str(weights.parent), '--cfg-options']
    options = _same_scans(config, source)
    return f'{absent} Make them: {shlex.join([*command, *options])}'


def _same_scans(config: Mapping[str, Any], source: str) -> list[str]:
    """Options by which the config ``source`` sees the scans that the
    detector's config trains on."""
    mine = config['train_dataloader']['dataset']
    options = {
        key: mine[key]
        for key in ('data_root', 'test_series', 'val_series')
        if mine.get(key) is not None
    }
    loaders = ['train_dataloader']
    if config.get('val_dataloader') and mine.get('val_series') != []:
        loaders.append('val_dataloader')
    else:
        options |= dict.fromkeys(
            ('val_dataloader', 'val_cfg', 'val_evaluator')
        )
    theirs = Config.fromfile(source) if Path(source).is_file() else {}
    for name in loaders:
        their = (theirs.get(name) or {}).get('dataset', {})
        for key in ('test_subsets', 'val_subsets'):
            # series replace subsets, which then do not matter
            if key.replace('subsets', 'series') in options:
                continue
            if key in mine and key in their and mine[key] != their[key]:
                options[f'{name}.dataset.{key}'] = mine[key]
    return [f'{key}={value}' for key, value in options.items()]
