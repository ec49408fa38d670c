"""Pages of one file each, from templates that escape every value."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import lungdet
from lungdet.errors import SeriesError, printable
from lungdet.io.atomic import write_text

MAX_PAGE_BYTES = 20_000_000
MAX_TEXT = 64  # characters of a header's text
MAX_SENTENCE = 400  # of a caveat
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
# ends a style; ends a script, or hides its end
ENDS = {'.css': '</style', '.js': '</script|<!--'}


def render_page(template: str, policy: str = POLICY, **values: Any) -> str:
    """Fill a template; text is escaped, also inside scripts.

    Args:
        template: Name of a file in ``templates``.
        policy: Content security policy: what the page may load.
        values: By name in the template.

    Raises:
        SeriesError: The page is larger than ``MAX_PAGE_BYTES``.
    """
    page = environment().get_template(template)
    text = page.render(policy=policy, version=lungdet.__version__, **values)
    if len(text.encode()) > MAX_PAGE_BYTES:
        raise SeriesError(
            f'report: {len(text.encode()) / 1e6:.1f} MB, a page may have '
            f'{MAX_PAGE_BYTES / 1e6:g}; leave out what is optional, such as '
            '--viewer.'
        )
    return text


def write_page(path: str | Path, page: str) -> None:
    """Write a page, whole or not at all.

    Args:
        path: Path of the file; its folder is created if needed.
        page: As returned by ``render_page``.
    """
    write_text(path, page)


@cache
def environment() -> Environment:
    """The templates, with escaping always on."""
    made = Environment(
        loader=PackageLoader('lungdet.report.html'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        short=short, sentence=lambda text: short(text, MAX_SENTENCE), num=num
    )
    made.globals.update(part=part, zip=zip)
    return made


def short(text: object, limit: int = MAX_TEXT) -> str:
    """Text without control characters, cut at a length.

    Args:
        text: For example from a header.
        limit: Characters.

    Examples:
        >>> short('a\\x1b[2J', 64), short('abcdef', 4)
        ('a\\\\x1b[2J', 'abc…')
    """
    clean = printable(str(text))
    return clean if len(clean) <= limit else f'{clean[: limit - 1]}…'


def num(value: float | None, digits: int = 1) -> str:
    """A number as tables show it; a dash if it is not known.

    Args:
        value: The number.
        digits: Digits after the decimal point.

    Examples:
        >>> num(2.345, 2), num(None), num(-0.01)
        ('2.35', '–', '0.0')
    """
    if value is None:
        return '–'
    text = f'{value:.{digits}f}'
    return text.lstrip('-') if float(text) == 0 else text


def part(name: str) -> str:
    """The text of a file of this package, to be put into a page unescaped.

    Args:
        name: Such as ``templates/report.css``: a file of lungdet or of a
            library, never of a user.

    Raises:
        ValueError: It would end the element that it is put into.
    """
    folder = resources.files('lungdet.report.html')
    text = folder.joinpath(name).read_text(encoding='utf-8')
    if re.search(ENDS[Path(name).suffix], text, re.IGNORECASE):
        raise ValueError(f'{name}: would end the element that it is put into')
    return text
