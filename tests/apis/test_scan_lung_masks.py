from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_inputs import find_scans
from lungdet.errors import ConfigError


def scans_of(path: Path, lung_mask: Path) -> list[ScanInput]:
    return find_scans([path], Path('unused'), lung_mask=lung_mask)[0]


def test_masks_by_name(tmp_path: Path) -> None:
    for name in ('in/a.mha', 'in/b.mha', 'lungs/a.mhd', 'lungs/.b.mhd'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'-')

    a, b = scans_of(tmp_path / 'in', lung_mask=tmp_path / 'lungs')

    assert a.lung_mask == tmp_path / 'lungs' / 'a.mhd' and not a.caveats
    assert b.lung_mask is None and 'no lung mask' in b.caveats[0]
    with pytest.raises(ConfigError, match='is one file, but there are 2'):
        scans_of(tmp_path / 'in', lung_mask=tmp_path / 'lungs/a.mhd')
    with pytest.raises(ConfigError, match='none that is named like a scan'):
        # no scan is its own mask
        scans_of(tmp_path / 'in', lung_mask=tmp_path / 'in')
    with pytest.raises(ConfigError, match='none that is named like a scan'):
        scans_of(tmp_path / 'in' / 'b.mha', lung_mask=tmp_path / 'lungs')
