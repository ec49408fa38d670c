"""Storing results on the server of their scan (STOW-RS).

Source: DICOM PS3.18, section 10.5; table I.2-2 for the failure reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from lungdet.dicomweb.address import Address
from lungdet.dicomweb.multipart import join_parts
from lungdet.dicomweb.server import DICOM, PATIENCE, Patience, Server
from lungdet.io.dicom_file import read_tags

TAGS = ['SOPClassUID', 'SOPInstanceUID']
# tags as named in the DICOM JSON model
FAILED, STORED = '00081198', '00081199'  # sequences of instances
INSTANCE, REASON = '00081155', '00081197'
REASONS = {
    0xA700: 'out of resources',
    0xA900: 'does not match its SOP class',
    0xC000: 'not understood',
    0xC122: 'transfer syntax not supported',
    0x0110: 'processing failure',
    0x0122: 'SOP class not supported',
    0x0124: 'not authorized',
}


@dataclass(frozen=True)
class StoreOutcome:
    """Outcome of storing one file.

    Attributes:
        name: Name of the file.
        uid: Its SOPInstanceUID.
        failure: Why it was not stored; None if the server confirmed it.
    """

    name: str
    uid: str
    failure: str | None = None


def store_files(
    address: Address, paths: Sequence[Path], patience: Patience = PATIENCE
) -> list[StoreOutcome]:
    """Store DICOM files in an examination.

    Storing a file again is harmless, since it keeps its identifier.

    Args:
        address: Address of the examination or of a series in it.
        paths: Paths of the files; at least one.
        patience: Time limits and retries.

    Returns:
        The outcome of each file, in the same order.

    Raises:
        ServerError: The server does not respond, or refuses the request.
        SeriesError: A file is not DICOM.
        ConfigError: httpx is not installed, or the credentials cannot be used.
    """
    uids = [str(read_tags(path, TAGS).SOPInstanceUID) for path in paths]
    boundary = uuid4().hex
    body = join_parts(
        [path.read_bytes() for path in paths], boundary.encode(), DICOM
    )
    with Server(address.root, patience) as server:
        answer = server.post(
            f'/studies/{address.study}',
            body,
            f'multipart/related; type="{DICOM}"; boundary={boundary}',
        )
    stored = _items(answer, STORED)
    failed = _items(answer, FAILED)
    return [
        StoreOutcome(path.name, uid, _failure(uid, stored, failed))
        for path, uid in zip(paths, uids)
    ]


def _failure(
    uid: str, stored: dict[str, Any], failed: dict[str, Any]
) -> str | None:
    if uid in failed:
        return _words(failed[uid])
    return None if uid in stored else 'not confirmed by the server'


def _items(answer: Any, tag: str) -> dict[str, Any]:
    """Failure reason of each instance in a sequence, None without one."""
    element = answer.get(tag) if isinstance(answer, dict) else None
    items = element.get('Value') if isinstance(element, dict) else None
    if not isinstance(items, list):
        return {}
    return {
        str(_first(one, INSTANCE)): _first(one, REASON)
        for one in items
        if isinstance(one, dict)
    }


def _first(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get('Value') if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _words(reason: Any) -> str:
    if not isinstance(reason, int):
        return 'refused without a reason'
    for known in (reason, reason & 0xFF00, reason & 0xF000):
        if known in REASONS:
            return f'refused: {REASONS[known]} (0x{reason:04X})'
    return f'refused (0x{reason:04X})'
