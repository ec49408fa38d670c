"""The command that creates missing pre-trained weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config


def missing_weights(
    pretrained: Mapping[str, str], config: Mapping[str, Any]
) -> str:
    """Message for a config whose pre-trained weights do not exist yet.

    Args:
        pretrained: The config's ``pretrained``.
        config: The config; its data and split become options of the command.
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
    # a stopped pre-training has left checkpoints there
    command = ['python', 'tools/train.py', source, '--resume']
    command += ['--work-dir', str(weights.parent), '--cfg-options']
    options = _same_scans(config, source)
    return f'{absent} Make them: {shlex.join([*command, *options])}'


def _same_scans(config: Mapping[str, Any], source: str) -> list[str]:
    """Options that make the config ``source`` pre-train on the scans that the
    detector's config trains on."""
    dataset = config['train_dataloader']['dataset']
    options = {
        key: dataset[key]
        for key in ('data_root', 'test_series', 'val_series')
        if dataset.get(key) is not None
    }
    loaders = ['train_dataloader']
    if config.get('val_dataloader') and dataset.get('val_series') != []:
        loaders.append('val_dataloader')
    else:
        options |= dict.fromkeys(
            ('val_dataloader', 'val_cfg', 'val_evaluator')
        )
    made_by = Config.fromfile(source) if Path(source).is_file() else {}
    for loader in loaders:
        other = (made_by.get(loader) or {}).get('dataset', {})
        for key in ('test_subsets', 'val_subsets'):
            # series replace subsets, which are then irrelevant
            if key.replace('subsets', 'series') in options:
                continue
            if key in dataset and key in other and dataset[key] != other[key]:
                options[f'{loader}.dataset.{key}'] = dataset[key]
    return [f'{key}={value}' for key, value in options.items()]
