"""Middleware of all requests and answers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lungdet.serve.access import Access
from lungdet.serve.limits import Refusal
from lungdet.serve.metrics import Counts

OPEN_PATHS = frozenset({'/', '/healthz', '/v1/session'})
HEADERS = {
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
}


class Gate:
    """Checks access, adds headers to answers, and logs errors without texts.

    HEAD is handled as GET; the server drops the body.

    Args:
        app: The application behind it.
        access: Access rules.
        counts: Counts refusals.
        tell: Called with a line about an internal error.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        counts: Counts,
        tell: Callable[[str], None],
    ) -> None:
        self.app = app
        self.access = access
        self.counts = counts
        self.tell = tell

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """An ASGI application."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message['status'] >= HTTPStatus.BAD_REQUEST:
                    self.counts.refuse(message['status'])
            elif scope['method'] == 'HEAD':
                message = {**message, 'body': b''}
            await send(message)

        try:
            self.access.check(
                scope['method'],
                Headers(scope=scope),
                is_open=scope['path'] in OPEN_PATHS,
            )
            is_head = scope['method'] == 'HEAD'
            inner = {**scope, 'method': 'GET'} if is_head else scope
            await self.app(inner, receive, send_with_headers)
        except Refusal as refusal:
            await problem(refusal)(scope, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            # already answered: Starlette calls the handler, then raises
            self.tell(f'internal error: {origin_of(error)}')


def problem(refusal: Refusal) -> JSONResponse:
    """The answer to a request that is not carried out (RFC 9457)."""
    content: dict[str, Any] = {
        'type': 'about:blank',
        'title': refusal.status.phrase,
        'status': refusal.status.value,
        'detail': str(refusal),
    }
    return JSONResponse(
        content,
        refusal.status.value,
        dict(refusal.headers),
        'application/problem+json',
    )


def internal_problem(request: Request, error: Exception) -> JSONResponse:
    """The answer after an internal error, without its details."""
    return problem(
        Refusal(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            'an error of the server; its log says where.',
        )
    )


def origin_of(error: Exception) -> str:
    """Where an error comes from, without its text, which may quote a scan.

    Args:
        error: With its traceback.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} in {last.filename}:{last.lineno}'
