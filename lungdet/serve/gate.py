"""Middleware for all requests and responses."""

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
    """Checks access, adds security headers, and logs internal errors.

    The log says where an error occurred, but omits its message, which may
    quote a scan. HEAD is handled as GET without a response body.

    Args:
        app: The wrapped application.
        access: Access rules.
        counts: Counts refused requests.
        tell: Called with a log line about an internal error.
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
            # Starlette's handler has already responded; it re-raises errors
            self.tell(f'internal error: {origin_of(error)}')


def problem(refusal: Refusal) -> JSONResponse:
    """The response to a refused request (problem details, RFC 9457)."""
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
    """The response after an internal error, without details."""
    return problem(
        Refusal(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            'internal error; the log of the server says where.',
        )
    )


def origin_of(error: Exception) -> str:
    """Class and source line of an error, without its message, which may
    quote a scan.

    Args:
        error: An error that was raised, so that it has a traceback.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} in {last.filename}:{last.lineno}'
