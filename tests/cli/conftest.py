"""Scans and weights for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from tests.apis.scans import write_scans
from tests.engine.conftest import tiny_config, tiny_store, trained

__all__ = ['tiny_config', 'tiny_store', 'trained']


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_scans(tmp_path / 'in', ['a', 'b', 'c', 'd', 'e'])
    return tmp_path / 'in'


@pytest.fixture
def marking(trained: Path, tmp_path: Path) -> Path:
    """Weights that mark something everywhere."""
    checkpoint = read_checkpoint(trained)
    checkpoint['meta']['model']['test_cfg']['rpn']['score_thr'] = 0.0
    write_checkpoint(tmp_path / 'marking.pth', checkpoint)
    return tmp_path / 'marking.pth'
