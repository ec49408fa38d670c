"""Exported backbones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lungdet.engine import read_backbone
from lungdet.errors import CheckpointError


def test_export_needs_safetensors_alone(weights: Path) -> None:
    """A reader of the file needs no torch, no pickle and no lungdet."""
    code = (
        'import json, sys\n'
        'from safetensors import safe_open\n'
        f'file = safe_open({str(weights)!r}, "np")\n'
        'assert not {"torch", "pickle5", "lungdet"} & set(sys.modules)\n'
        'tensor = file.get_tensor("forw1.0.conv1.weight")\n'
        'print(json.dumps([file.metadata(), len(list(file.keys())), '
        'tensor.shape]))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    header, num, shape = json.loads(done.stdout)
    assert header['format'] == 'lungdet.backbone/2'
    assert shape == [4, 4, 3, 3, 3] and num > 100
    provenance = json.loads(header['provenance'])
    assert provenance['input_contract'] == {
        'window': [-1200, 600],
        'out_range': [-1, 1],
        'spacing_mm': 1.0,
        'plugins': [],
    }
    # 1.2 validates, 1.3 and 1.4 are the test's
    assert provenance['train_series'] == ['1.0', '1.1']
    assert provenance['folds'] == 'train'
    assert provenance['method'] == 'GenesisPretrainer'
    # 8 crops in batches of 2, 3 epochs
    assert (provenance['iterations'], provenance['epochs']) == (12, 3)


def test_files_that_are_no_backbone_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match='no such weights'):
        read_backbone(tmp_path / 'x')
    (tmp_path / 'cut').write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        read_backbone(tmp_path / 'cut')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other')
    with pytest.raises(CheckpointError, match='format None'):
        read_backbone(tmp_path / 'other')


@pytest.mark.parametrize(
    'change',
    [
        lambda c: c[:-3] + bytes([c[-3] ^ 4]) + c[-2:],  # one bit of a weight
        lambda c: c.replace(b'GenesisPretrainer', b'GenesisPretrainex'),
    ],
)
def test_a_damaged_backbone_is_refused(
    weights: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    content = weights.read_bytes()
    (tmp_path / 'damaged').write_bytes(change(content))
    assert (tmp_path / 'damaged').read_bytes() != content

    with pytest.raises(CheckpointError, match='its checksum differs'):
        read_backbone(tmp_path / 'damaged')


def test_a_backbone_of_an_early_version_is_read(
    weights: Path, tmp_path: Path
) -> None:
    tensors, provenance = read_backbone(weights)
    header = {
        'format': 'lungdet.backbone/2',
        'provenance': json.dumps(provenance),
    }
    save_file(tensors, tmp_path / 'early', metadata=header)

    assert read_backbone(tmp_path / 'early')[1] == provenance
