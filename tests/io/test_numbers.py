from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.io.numbers import count_of, numbers_of


@given(st.lists(st.floats(-1e99, 1e99), min_size=1))
def test_what_python_writes_is_read_back(values: list[float]) -> None:
    assert numbers_of(' '.join(map(repr, values))) == values


@pytest.mark.parametrize(
    'text',
    ['', '1_0', 'nan', 'inf', '1e999', '0x10', '1,5', '\u0663', '1 2 x']
    + ['1' * 101, '--1', '1e', '.'],
)
def test_what_is_no_number_of_a_header_is_not_read(text: str) -> None:
    assert numbers_of(text) is None


def test_whole_numbers_have_no_point() -> None:
    assert numbers_of('+3 -4', int) == [3, -4]
    assert numbers_of('3.0', int) is None
    assert numbers_of('3, 4', int, ',') == [3, 4]


@pytest.mark.parametrize('text', ['', '-1', '1.0', '\u00b2', '9' * 19, ' 1'])
def test_what_is_no_count_is_not_read(text: str) -> None:
    assert count_of(text) is None


def test_counts_may_have_zeros_in_front() -> None:
    assert count_of('007') == 7
