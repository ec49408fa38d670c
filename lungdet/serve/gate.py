"""What every request passes before it reaches a route, and every answer."""

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
    """Access, headers of every answer, and a log of errors without texts.

    A HEAD is answered as a GET without its body, which the server drops.

    Args:
        app: What is behind it.
        access: Who may pass.
        counts: Counts refusals.
        tell: Gets a line about an error of ours.
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
            # it is answered already: Starlette calls the handler, and raises
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
    """The answer where something is wrong here; it does not tell what."""
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
