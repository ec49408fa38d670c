"""The upload page: a single HTML file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources

from jinja2 import ChoiceLoader, Environment, PackageLoader

import lungdet
from lungdet.report.html.page import environment
from lungdet.serve.limits import Limits, in_units
from lungdet.serve.uploads import FIELD, TAKEN

INLINE = re.compile(r'<(style|script)>(.*?)</\1>', re.DOTALL)
POLICY = (
    "default-src 'none'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; style-src {style}; script-src {script}"
)
FRAMES = "; frame-ancestors 'none'"  # not allowed in a policy inside a page


def page_and_policy(limits: Limits) -> tuple[str, str]:
    """The page, and the Content-Security-Policy header to send with it.

    The policy allows only the page's own scripts and styles, by digest.

    Args:
        limits: Limits, shown on the page and checked before an upload.
    """
    values = {
        'field': FIELD,
        'suffixes': TAKEN,
        'limits': limits,
        'upload_limit': in_units(limits.upload_bytes),
        'keep_hours': limits.keep_seconds / 3600,
        'version': lungdet.__version__,
        'script': script(),
    }
    template = templates().get_template('serve.html')
    digests = {
        kind: _digest(text)
        for kind, text in INLINE.findall(template.render(policy='', **values))
    }
    policy = POLICY.format(**digests)
    return template.render(policy=policy, **values), f'{policy}{FRAMES}'


@cache
def templates() -> Environment:
    """Jinja environment with the templates of reports and server."""
    folders = ('lungdet.serve', 'lungdet.report.html')
    return environment().overlay(
        loader=ChoiceLoader([PackageLoader(name) for name in folders])
    )


def script() -> str:
    """The JavaScript of the page."""
    folder = resources.files('lungdet.serve')
    return folder.joinpath('templates/serve.js').read_text(encoding='utf-8')


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
