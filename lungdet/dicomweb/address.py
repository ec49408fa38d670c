"""Addresses of examinations on DICOMweb servers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from lungdet.errors import ConfigError

SCHEMES = ('http://', 'https://')
FORM = 'http://HOST:PORT/dicom-web/studies/UID[/series/UID]'
UID = re.compile(r'[0-9]+(\.[0-9]+)*')
MAX_UID = 64  # characters, DICOM PS3.5 section 9
RESOURCE = re.compile(
    r'(?P<root>.*?)/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+))?/?'
)


@dataclass(frozen=True)
class Address:
    """An examination on a server, or one series of it.

    Attributes:
        root: Root of the DICOMweb service, without a trailing slash.
        study: StudyInstanceUID.
        series: SeriesInstanceUID; None for the whole examination.
    """

    root: str
    study: str
    series: str | None = None

    def __str__(self) -> str:
        series = '' if self.series is None else f'/series/{self.series}'
        return f'{self.root}/studies/{self.study}{series}'

    def of_series(self, uid: str) -> Address:
        """The address of one series."""
        return replace(self, series=uid)


def is_address(text: str) -> bool:
    """Whether a text is an address on a server rather than a path.

    Examples:
        >>> is_address('https://host/studies/1.2'), is_address('http')
        (True, False)
    """
    return text.lower().startswith(SCHEMES)


def is_uid(text: object) -> bool:
    """Whether a value is a valid UID, so that it is safe in an address.

    Examples:
        >>> is_uid('1.2.840'), is_uid('../1'), is_uid(None)
        (True, False, False)
    """
    return (
        isinstance(text, str)
        and len(text) <= MAX_UID
        and UID.fullmatch(text) is not None
    )


def parse_address(text: str) -> Address:
    """Parse an address that a user gave.

    Raises:
        ConfigError: The address names no examination, or has a part that is
            not allowed, such as a password. The message does not repeat it.

    Examples:
        >>> parse_address('http://host:8042/dicom-web/studies/1.2/series/1.3/')
        Address(root='http://host:8042/dicom-web', study='1.2', series='1.3')
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(
            f'address: {error}; it should look like {FORM}.'
        ) from error
    where = f'{parts.scheme}://{host}' + ('' if port is None else f':{port}')
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f'{where}: a user name or password in the address can be seen by '
            'others; put them into LUNGDET_DICOMWEB_USER and '
            'LUNGDET_DICOMWEB_PASSWORD, or into ~/.netrc.'
        )
    if parts.query or parts.fragment:
        raise ConfigError(
            f'{where}: the address must not contain ? or #; it should look '
            f'like {FORM}.'
        )
    match = RESOURCE.fullmatch(parts.path)
    if not host or match is None:
        raise ConfigError(
            f'{where}: names no examination; it should look like {FORM}.'
        )
    study, series = match['study'], match['series']
    for uid in (study, series):
        if uid is not None and not is_uid(uid):
            raise ConfigError(
                f'{where}: {uid[:80]!r} is not a UID (digits and dots, at '
                f'most {MAX_UID}); copy it again.'
            )
    root = f'{parts.scheme}://{parts.netloc}{match["root"]}'
    return Address(root, study, series)
