"""Stores that several tests read; none of these tests writes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.stores import airy_store, balls_store, lungs_store


@pytest.fixture(scope='session')
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return balls_store(tmp_path_factory.mktemp('balls'))


@pytest.fixture(scope='session')
def lungs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lungs_store(tmp_path_factory.mktemp('lungs'))


@pytest.fixture(scope='session')
def airy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return airy_store(tmp_path_factory.mktemp('airy'))
