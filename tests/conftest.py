"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    'default',
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile('default')

ROOT = Path(__file__).resolve().parent.parent
# first, so that at the end one process does not wait for another
LONGEST = ('test_kills.py', 'test_end_to_end.py', 'test_fuzz.py')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start no slow test after ``LUNGDET_SLOW_UNTIL``, seconds since 1970."""
    until = os.environ.get('LUNGDET_SLOW_UNTIL')
    if (
        until
        and item.get_closest_marker('slow')
        and time.time() > float(until)
    ):
        pytest.skip('slow, and it is later than LUNGDET_SLOW_UNTIL')


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260701)


@pytest.fixture(scope='session')
def test_data() -> Path:
    """Folder with real scans, crops and submissions."""
    default = ROOT.parent / 'shared' / 'data'
    folder = Path(os.environ.get('LUNGDET_TEST_DATA', default))
    if not (folder / 'luna16-mini').is_dir():
        reason = f'no real data at {folder}; set LUNGDET_TEST_DATA'
        if os.environ.get('LUNGDET_REQUIRE_DATA'):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
