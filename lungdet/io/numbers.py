"""Numbers in text headers, as their formats write them."""

from __future__ import annotations

import math
import re

WHOLE = re.compile(r'[+-]?[0-9]{1,18}')
COUNT = re.compile(r'[0-9]{1,18}')
DECIMAL = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?')
MAX_DIGITS = 100  # of one number; printf writes fewer


def numbers_of(
    text: str, kind: type = float, separator: str | None = None
) -> list | None:
    """All numbers in a text, None if anything in it is not a number.

    Stricter than Python, which reads ``1_0`` as ten, and accepts digits of any
    script.

    Args:
        text: Words separated by spaces, or by ``separator``.
        kind: ``int`` or ``float``.
        separator: As in ``str.split``.

    Examples:
        >>> numbers_of('0.5 1 2e1'), numbers_of('1_0'), numbers_of('nan')
        ([0.5, 1.0, 20.0], None, None)
        >>> numbers_of('3,4', int, ',')
        [3, 4]
    """
    pattern = WHOLE if kind is int else DECIMAL
    values = []
    for word in map(str.strip, text.split(separator)):
        if len(word) > MAX_DIGITS or not pattern.fullmatch(word):
            return None
        values.append(kind(word))
    if not values or not all(map(math.isfinite, values)):
        return None
    return values


def count_of(text: str) -> int | None:
    """A whole number in decimal digits; None if the text is something else.

    Python's own conversion raises for 5,000 digits, and ``isdigit`` accepts
    superscripts.

    Examples:
        >>> count_of('0120'), count_of('-1'), count_of('9' * 5000)
        (120, None, None)
    """
    return int(text) if COUNT.fullmatch(text) else None
