"""The upload page: a single file, into which nothing can be injected."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from lungdet.serve.limits import Limits
from lungdet.serve.page import page_and_policy, script
from lungdet.serve.service import Service
from tests.serve.scene import client_of, make_service, service

__all__ = ['make_service', 'service']


class Elements(HTMLParser):
    """Names and attributes of all elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.there: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        self.there.append((tag, dict(attrs)))


def test_only_what_is_in_the_page_runs() -> None:
    page, policy = page_and_policy(Limits())

    for kind in ('style', 'script'):
        (text,) = re.findall(f'<{kind}>(.*?)</{kind}>', page, re.DOTALL)
        digest = hashlib.sha256(text.encode()).digest()
        source = f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'"
        assert source in policy
    assert 'unsafe' not in policy and "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    for tag, attributes in Elements(page).there:
        assert not {'src', 'href', 'style', 'onclick'} & {*attributes}, tag
        assert not any(name.startswith('on') for name in attributes)


def test_the_policy_is_sent_too(service: Service) -> None:
    answer = client_of(service).get('/')

    page, policy = page_and_policy(service.storage.limits)
    assert answer.headers['content-security-policy'] == policy
    assert answer.text == page
    assert answer.headers['content-type'] == 'text/html; charset=utf-8'


def test_limits_are_told() -> None:
    page, _ = page_and_policy(
        Limits(upload_bytes=123_000_000, keep_seconds=7200)
    )

    assert 'At most 123 MB' in page and '2 hours later' in page
    assert '"limit": 123000000' in page
    assert 'Research use only' in page


def test_the_script_puts_texts_where_no_markup_is_read() -> None:
    for word in ('innerHTML', 'outerHTML', 'insertAdjacent', 'eval', 'write('):
        assert word not in script()
