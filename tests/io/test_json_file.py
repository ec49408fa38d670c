from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.json_file import (
    digest_of,
    flag,
    geometry,
    items,
    keyed,
    metric,
    number,
    numbers,
    read_array,
    read_object,
    shape_checked,
    text,
    whole,
    with_digest,
)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'{"a": 1', 'not JSON'),
        (b'\xff\xfe{}', 'not JSON'),
        (b'[' * 100_000, 'not JSON'),
        (b'[1]', 'holds a list'),
        (b'null', 'holds a NoneType'),
    ],
)
def test_what_is_no_object_is_named(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / 'a.json'
    path.write_bytes(content)

    with pytest.raises(SeriesError, match=rf'a\.json: {reason}.* Make it\.'):
        read_object(path, 'Make it.')


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match='not a JSON file'):
        read_object(tmp_path, '')


@pytest.mark.parametrize(
    'error', [TypeError('x'), ValueError('x'), GeometryError('x')]
)
def test_values_of_another_kind_are_named(error: Exception) -> None:
    with pytest.raises(SeriesError, match=r'a\.json: .* kind \(x\); again'):
        with shape_checked('a.json', 'again'):
            raise error


def test_a_missing_value_is_named() -> None:
    with pytest.raises(SeriesError, match=r"a\.json: its file lacks 'b'"):
        with shape_checked('a.json', 'again'):
            {}['b']


@pytest.mark.parametrize(
    ('take', 'value', 'others'),
    [
        (number, 1.5, ['1', True, None, float('inf'), float('nan'), [1]]),
        (metric, 1.5, ['1', True, None, [1]]),
        (whole, 3, [3.0, True, '3', None]),
        (flag, True, [1, 'true', None]),
        (text, 'a', [1, None, ['a']]),
        (items, [1], [{}, 'ab', None, 1]),
        (keyed, {'a': 1}, [[], 'ab', None, 1]),
        (lambda v: list(numbers(v, 2)), [1, 2.5], [[1], [1, 'a'], 'ab', {}]),
    ],
)
def test_values_are_of_their_kind(take, value, others) -> None:
    assert take(value) == value
    for other in others:
        with pytest.raises(TypeError):
            take(other)


def test_a_digest_tells_values_apart_and_not_their_order() -> None:
    one = with_digest({'a': 1, 'b': [0.1, None]})

    assert one['digest'] == digest_of({'b': [0.1, None], 'a': 1})
    assert digest_of(one) == one['digest']
    assert digest_of({**one, 'a': 1.0}) != one['digest']


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'[' * 100_000, 'not JSON'),
        (b'{"a": 1}', 'holds a dict, not a list'),
        (b'[{"a": 1, "a": 1}]', "the key 'a' occurs twice"),
    ],
)
def test_what_is_no_list_is_named(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / 'a.json'
    path.write_bytes(b'[{"a": 1}, 2]')
    assert read_array(path, '') == [{'a': 1}, 2]
    path.write_bytes(content)

    with pytest.raises(SeriesError, match=rf'a\.json: .*{reason}.* Make it'):
        read_array(path, 'Make it.')


def test_a_twin_among_many_keys_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    keys = ', '.join(f'"{k}": 0' for k in range(20_000))
    path.write_text(f'{{{keys}, "19999": 1}}')

    started = process_time()
    with pytest.raises(SeriesError, match="key '19999' occurs twice"):
        read_object(path, 'Make it.')

    assert process_time() - started < 2  # comparing all pairs takes ten


@pytest.mark.parametrize(
    'change',
    [
        {'affine': None},
        {'affine': False},
        {
            'affine': [
                [1, 0, 0, None],
                [0, 1, 0, 0],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ]
        },
        {
            'affine': [
                [1, 0, 0, True],
                [0, 1, 0, 0],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ]
        },
        {'affine': [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]},
        {'affine': [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]},
        {'shape': [4, 0, 6]},
        {'shape': [4, 5, True]},
        {'shape': 4},
        {'shape': [4, 5]},
    ],
)
def test_a_grid_has_finite_numbers(change: dict) -> None:
    grid = Geometry.from_parts(
        (4, 5, 6), spacing_zyx=(3, 2, 1), origin_xyz=(7, 8, 9)
    )
    assert geometry(grid.to_dict()).is_close(grid)

    with pytest.raises((TypeError, ValueError)):
        geometry({**grid.to_dict(), **change})
