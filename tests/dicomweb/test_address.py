from __future__ import annotations

import pytest

from lungdet.dicomweb import Address, is_address, parse_address
from lungdet.errors import ConfigError


@pytest.mark.parametrize(
    ('text', 'address'),
    [
        (
            'http://h:8042/dicom-web/studies/1.2',
            Address('http://h:8042/dicom-web', '1.2'),
        ),
        (
            'https://h/a/studies/b/studies/1.2/series/1.3/',
            Address('https://h/a/studies/b', '1.2', '1.3'),
        ),
        ('HTTP://[::1]:80/studies/1', Address('http://[::1]:80', '1')),
    ],
)
def test_an_address_of_an_examination(text: str, address: Address) -> None:
    assert is_address(text)
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('http://h/dicom-web', 'names no examination'),
        ('http://h/dicom-web/studies/', 'names no examination'),
        ('http:///studies/1.2', 'names no examination'),
        ('http://h/studies/1.2/instances', 'names no examination'),
        ('http://h/studies/../x', 'names no examination'),
        ('http://h/studies/..', "'..' is not a UID"),
        ('http://h/studies/1.2/series/x%2F', 'is not a UID'),
        (f'http://h/studies/{"1" * 65}', 'is not a UID'),
        ('http://h:port/studies/1.2', 'Port could not'),
        ('http://h/studies/1.2?token=SECRET', r'not contain \? or #'),
        ('http://me:SECRET@h/studies/1.2', 'LUNGDET_DICOMWEB_PASSWORD'),
    ],
)
def test_what_is_no_such_address(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        parse_address(text)

    assert 'SECRET' not in str(raised.value)
