"""Pages parsed as a browser would."""

from __future__ import annotations

import json
from html.parser import HTMLParser

VOID = {'meta', 'img', 'input', 'br'}


class ParsedPage(HTMLParser):
    """The elements, texts and data of a page.

    Attributes:
        elements: Name and attributes, in order.
        texts: All texts that are shown.
        scripts: Texts of script elements, by their type.
        open: Elements that were not closed.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == 'script':
            self.scripts.append((self.elements[-1][1].get('type'), data))
        elif data.strip() and self.open[-1] != 'style':
            self.texts.append(data.strip())

    def all(self, tag: str, kind: str | None = None) -> list[dict]:
        """Attributes of the elements of a name, and of a class."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag
            and (
                kind is None or kind in (attributes.get('class') or '').split()
            )
        ]

    def data(self) -> dict:
        """The data that the page's script draws."""
        (text,) = (t for kind, t in self.scripts if kind is not None)
        return json.loads(text)
