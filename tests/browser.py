"""Headless Chromium for tests, driven through its debugging pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
OPTIONS = (
    *('--headless=new', '--no-sandbox', '--remote-debugging-pipe'),
    *('--hide-scrollbars', '--force-device-scale-factor=1'),
    *('--use-angle=swiftshader', '--enable-unsafe-swiftshader'),
    '--no-first-run',
    *('--disable-background-networking', '--disable-dev-shm-usage'),
)


@contextmanager
def browser_page(
    path: Path | str, profile: Path, **size: Any
) -> Iterator[Page]:
    """A page opened in Chromium; skips where there is none.

    Args:
        path: Of the HTML file; or an address, whose host alone is reached.
        profile: Folder for the browser's files.
        size: As ``Page.resize``.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'no {NAMES[0]} here; apt-get install chromium')
    to_browser, from_browser = os.pipe(), os.pipe()

    def wire() -> None:  # the browser reads from 3 and writes to 4
        ends = os.dup(to_browser[0]), os.dup(from_browser[1])
        for end, number in zip(ends, (3, 4)):
            os.dup2(end, number)

    rules = 'MAP * ~NOTFOUND'
    if isinstance(path, str):
        rules += f', EXCLUDE {urlsplit(path).hostname}'
    command = [
        *(program, *OPTIONS, f'--host-resolver-rules={rules}'),
        *(f'--user-data-dir={profile}', 'about:blank'),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=wire,
    ) as process:
        os.close(to_browser[0])
        os.close(from_browser[1])
        with (
            os.fdopen(to_browser[1], 'wb') as write,
            os.fdopen(from_browser[0], 'rb') as read,
        ):
            try:
                page = Page(write, read)
                page.resize(**size)
                page.open(path)
                yield page
            finally:
                process.kill()


class Page:
    """A tab: what it loaded and complained about, and how to use it.

    Attributes:
        requests: Addresses that were asked for, without those of data.
        complaints: Errors and warnings of its console.
    """

    def __init__(self, write: Any, read: Any) -> None:
        self.to_browser, self.from_browser, self.number = write, read, 0
        self.session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.events: list[str] = []
        target = self.call('Target.createTarget', url='about:blank')
        attached = self.call(
            'Target.attachToTarget', flatten=True, targetId=target['targetId']
        )
        self.session = attached['sessionId']
        for domain in ('Page', 'Network', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    def call(self, method: str, **params: Any) -> dict:
        """One command of the DevTools protocol, and its result."""
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session is not None:
            message['sessionId'] = self.session
        self.to_browser.write(json.dumps(message).encode() + b'\0')
        self.to_browser.flush()
        while True:
            answer = self.receive()
            if answer.get('id') == self.number:
                assert 'error' not in answer, answer['error']
                return answer['result']

    def receive(self) -> dict:
        """The next answer or event, which is recorded."""
        parts = []
        while (char := self.from_browser.read(1)) != b'\0':
            assert char, 'the browser has ended'
            parts.append(char)
        answer = json.loads(b''.join(parts))
        self.record(answer.get('method', ''), answer.get('params', {}))
        return answer

    def record(self, method: str, params: dict) -> None:
        """Keep what an event says."""
        self.events.append(method)
        if method == 'Network.requestWillBeSent':
            url = params['request']['url']
            if not url.startswith(('data:', 'blob:')):
                self.requests.append(url)
        elif method == 'Runtime.exceptionThrown':
            self.complaints.append(json.dumps(params['exceptionDetails']))
        elif method == 'Log.entryAdded':
            self.complaints.append(params['entry']['text'])
        elif method == 'Runtime.consoleAPICalled' and params['type'] in (
            *('error', 'warning', 'assert'),
        ):
            self.complaints.append(json.dumps(params['args']))

    def open(self, path: Path | str) -> None:
        """Load a file or an address and wait until it is there."""
        url = path if isinstance(path, str) else path.resolve().as_uri()
        self.events.clear()
        self.call('Page.navigate', url=url)
        while 'Page.loadEventFired' not in self.events:
            self.receive()

    def resize(self, width: int = 1000, height: int = 800) -> None:
        """Set the size of the window in CSS pixels."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def media(self, kind: str = '', scheme: str = 'light') -> None:
        """Show the page as on that medium, in light or dark."""
        feature = {'name': 'prefers-color-scheme', 'value': scheme}
        self.call('Emulation.setEmulatedMedia', media=kind, features=[feature])

    def evaluate(self, code: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call(
            'Runtime.evaluate',
            expression=code,
            returnByValue=True,
            awaitPromise=True,
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def press(self, key: str) -> None:
        """Press and release a key, where the focus is."""
        typed = {'Enter': '\r'}.get(key, key)
        text = {'text': typed} if len(typed) == 1 else {}
        codes = {'Enter': 13, ' ': 32}
        for kind in ('keyDown', 'keyUp'):
            self.call(
                'Input.dispatchKeyEvent',
                type=kind,
                key=key,
                windowsVirtualKeyCode=codes.get(key, 0),
                **text,
            )

    def screenshot(
        self, path: Path | None = None, *, full: bool = False
    ) -> Any:
        """What is to be seen, as uint8 (rows, columns, 3)."""
        shot = self.call(
            'Page.captureScreenshot',
            captureBeyondViewport=full,
            format='png',
            **({'clip': self.whole()} if full else {}),
        )
        content = base64.b64decode(shot['data'])
        if path is not None:
            path.write_bytes(content)
        return np.asarray(Image.open(BytesIO(content)).convert('RGB'))

    def whole(self) -> dict:
        """The page beyond the window."""
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        return {**size, 'scale': 1}

    def pdf(self, path: Path) -> None:
        """Print the page."""
        printed = self.call('Page.printToPDF', printBackground=False)
        path.write_bytes(base64.b64decode(printed['data']))
