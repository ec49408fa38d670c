"""Credentials from the environment or netrc, but never from an address."""

from __future__ import annotations

import os
from base64 import b64encode
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit

from lungdet.errors import ConfigError

TOKEN = 'LUNGDET_DICOMWEB_TOKEN'
USER, PASSWORD = 'LUNGDET_DICOMWEB_USER', 'LUNGDET_DICOMWEB_PASSWORD'


def authorization(root: str) -> str | None:
    """The Authorization header for a server; None without credentials.

    Tried in this order: ``LUNGDET_DICOMWEB_TOKEN``, a bearer token;
    ``LUNGDET_DICOMWEB_USER`` with ``LUNGDET_DICOMWEB_PASSWORD``; the server's
    entry in the file that ``NETRC`` names, by default ``~/.netrc``.

    Args:
        root: Root of the DICOMweb service.

    Raises:
        ConfigError: The credentials are incomplete or contain characters that
            are not allowed in a header, or netrc cannot be read.
    """
    if token := os.environ.get(TOKEN):
        return _header(f'Bearer {token}')
    name, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if (name is None) != (password is None):
        raise ConfigError(f'{USER} and {PASSWORD} belong together; set both.')
    if name is not None and password is not None:
        return _basic(name, password)
    return _of_netrc(root)


def _of_netrc(root: str) -> str | None:
    path = Path(os.environ.get('NETRC') or Path.home() / '.netrc')
    if not path.is_file():
        return None
    try:
        entry = netrc(path).authenticators(urlsplit(root).hostname or '')
    except (NetrcParseError, OSError, UnicodeDecodeError) as error:
        # do not quote the faulty line: it may contain a password
        line = getattr(error, 'lineno', None)
        raise ConfigError(
            f'{path}: cannot be read as netrc'
            + (f' (line {line})' if line else '')
            + '; correct the file.'
        ) from None
    return None if entry is None else _basic(entry[0], entry[2] or '')


def _basic(name: str, password: str) -> str:
    return 'Basic ' + b64encode(f'{name}:{password}'.encode()).decode()


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            f'{TOKEN}: contains a line break or another character that is not '
            'allowed in a header; set it again.'
        )
    return value
