from __future__ import annotations

import pytest

from lungdet.errors import GeometryError
from lungdet.prepare import find_lungs, prepare_case
from tests.prepare.scans import block_scan


def test_spacing_that_would_fill_the_memory_is_refused() -> None:
    scan = block_scan()
    with pytest.raises(GeometryError, match='give a larger spacing'):
        prepare_case(scan, find_lungs(scan), spacing_mm=0.03)
