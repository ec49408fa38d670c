from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from lungdet.errors import ConfigError
from lungdet.serve.limits import Limits, Refusal, in_units


@pytest.mark.parametrize(
    'given', [{'upload_bytes': 0}, {'keep_seconds': -1.0}, {'memory_bytes': 0}]
)
def test_a_limit_that_takes_nothing_is_refused(given: dict[str, Any]) -> None:
    (name,) = given

    with pytest.raises(ConfigError, match=f'{name} is .*above 0'):
        Limits(**given)


def test_memory_need_not_be_limited() -> None:
    assert Limits(memory_bytes=None).memory_bytes is None


@pytest.mark.parametrize(
    ('size', 'text'),
    [
        (999, '999 bytes'),
        (1000, '1 kB'),
        (367_001_600, '367 MB'),
        (1_000_000_000, '1 GB'),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert in_units(size) == text


def test_a_refusal_is_its_sentence() -> None:
    refusal = Refusal(HTTPStatus.TOO_MANY_REQUESTS, 'later.', {'A': 'b'})

    assert str(refusal) == 'later.'
    assert (refusal.status, refusal.headers) == (429, {'A': 'b'})
