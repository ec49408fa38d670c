from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepare.scans import SCANS, write_scan


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for seed, name in enumerate(SCANS):
        write_scan(tmp_path / 'scans' / f'{name}.mhd', seed)
    return tmp_path / 'scans'
