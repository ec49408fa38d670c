"""JSON that the program wrote and reads again: complete, with the right keys.

Files are edited by hand, cut by full disks and mixed up, so whatever is not as
it was written becomes a one-line error that names the file.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lungdet.errors import LungdetError, SeriesError
from lungdet.geometry import Geometry

MAX_JSON_BYTES = 1_000_000_000  # an index of 10,000 scans is below 50 MB
DIGEST = 'digest'


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """A file that holds one JSON object.

    Args:
        path: Path of the file.
        remedy: What to do if it is damaged, for the message.

    Raises:
        SeriesError: It is not a file, not JSON, or not an object; the message
            names it.
        OSError: It cannot be read.
    """
    return _read(path, dict, 'an object with keys', remedy)


def read_array(path: Path, remedy: str) -> list[Any]:
    """A file that holds one JSON array; otherwise as ``read_object``."""
    return _read(path, list, 'a list', remedy)


def _read(path: Path, kind: type, called: str, remedy: str) -> Any:
    size = path.stat().st_size
    if not path.is_file() or size > MAX_JSON_BYTES:
        raise SeriesError(f'{path}: not a JSON file. {remedy}')
    try:
        values = json.loads(
            path.read_bytes().decode('utf-8'), object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError) as error:
        raise SeriesError(f'{path}: not JSON ({error}). {remedy}') from error
    if not isinstance(values, kind):
        raise SeriesError(
            f'{path}: holds a {type(values).__name__}, not {called}. {remedy}'
        )
    return values


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are distinct; of equal ones Python takes the last.

    Raises:
        ValueError: A key occurs twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twin, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f'the key {twin!r:.80} occurs twice')
    return values


@contextmanager
def shape_checked(where: str, remedy: str) -> Iterator[None]:
    """Turn the errors that unexpected values raise into one line.

    Args:
        where: File or case, for the message.
        remedy: What to do, for the message.

    Raises:
        SeriesError: A value is missing, or of another kind.
    """
    try:
        yield
    except SeriesError:
        raise
    except KeyError as error:
        raise SeriesError(f'{where}: its file lacks {error}; {remedy}') from (
            error
        )
    except (
        AttributeError,
        IndexError,
        LungdetError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise SeriesError(
            f'{where}: its file holds a value of another kind ({error}); '
            f'{remedy}'
        ) from error


def number(value: Any) -> float:
    """A finite number, unchanged.

    Raises:
        TypeError: Something else.
    """
    if not math.isfinite(metric(value)):
        raise TypeError(f'{value!r} is not a number')
    return value


def metric(value: Any) -> float:
    """A number, unchanged; NaN where there was nothing to measure.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f'{value!r} is not a number')
    return value


def whole(value: Any) -> int:
    """A whole number.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'{value!r} is not a whole number')
    return value


def flag(value: Any) -> bool:
    """True or false.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f'{value!r} is neither true nor false')
    return value


def text(value: Any) -> str:
    """A text.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, str):
        raise TypeError(f'{value!r} is not text')
    return value


def items(value: Any) -> Sequence[Any]:
    """A list.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f'{value!r:.60} is not a list')
    return value


def keyed(value: Any) -> dict[str, Any]:
    """An object with keys.

    Raises:
        TypeError: Something else.
    """
    if not isinstance(value, dict):
        raise TypeError(f'{value!r:.60} is not an object with keys')
    return value


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """A list of ``count`` finite numbers.

    Raises:
        TypeError: Something else.
    """
    if len(items(value)) != count:
        raise TypeError(f'{value!r:.60} are not {count} numbers')
    return tuple(number(one) for one in value)


def geometry(value: Any) -> Geometry:
    """The grid of an image, as ``Geometry.to_dict`` gives it.

    Raises:
        KeyError, TypeError, ValueError: Something else.
    """
    shape, affine = keyed(value)['shape'], keyed(value)['affine']
    if not all(whole(n) > 0 for n in items(shape)):
        raise ValueError(f'{shape} is not the shape of an image')
    lines = [numbers(line, 4) for line in items(affine)]
    if len(lines) != 4 or lines[3] != (0, 0, 0, 1):
        raise ValueError(f'{affine!r:.60} is not an affine')
    return Geometry.from_dict(value)


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values and a checksum that reveals later edits."""
    return {**values, DIGEST: digest_of(values)}


def digest_of(values: Mapping[str, Any]) -> int:
    """Checksum of an object, whatever the order of its keys."""
    rest = {key: value for key, value in values.items() if key != DIGEST}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())
