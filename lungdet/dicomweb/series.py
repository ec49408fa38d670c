"""CT series of an examination: listing and download (QIDO-RS, WADO-RS).

Source: DICOM PS3.18, sections 10.4 and 10.6.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungdet.dicomweb.address import Address, is_uid
from lungdet.dicomweb.errors import ServerError
from lungdet.dicomweb.server import PATIENCE, Patience, Server
from lungdet.errors import SeriesError
from lungdet.io.dicom_file import read_tags
from lungdet.io.dicom_headers import CT_CLASS, MULTIFRAME
from lungdet.io.limits import MAX_FILES
from lungdet.io.numbers import count_of

TAGS = ['SOPClassUID', 'SeriesInstanceUID', 'SOPInstanceUID']
# tags as named in the DICOM JSON model
SOP_CLASS, SOP_INSTANCE, MODALITY = '00080016', '00080018', '00080060'
DESCRIPTION, THICKNESS, SERIES = '0008103E', '00180050', '0020000E'
FRAMES, COUNT = '00280008', '00201209'  # NumberOfSeriesRelatedInstances


@dataclass(frozen=True)
class RemoteSeries:
    """A CT series on a server.

    Attributes:
        uid: Its SeriesInstanceUID.
        instances: Number of files, according to the server.
        slices: Number of slices: of files, or of frames in the only file.
        thickness: Slice thickness in mm; infinite if unknown.
        description: SeriesDescription, free text that may name a person.
    """

    uid: str
    instances: int
    slices: int
    thickness: float
    description: str


def list_remote_series(
    address: Address, patience: Patience = PATIENCE
) -> list[RemoteSeries]:
    """The CT series of an examination, or the one that the address names.

    Args:
        address: Address of the examination or series.
        patience: Time limits and retries.

    Raises:
        ServerError: The server does not respond, has no such examination or
            series, or there is no CT in it.
        ConfigError: httpx is not installed, or the credentials cannot be used.
    """
    path = f'/studies/{address.study}/series'
    with Server(address.root, patience) as server:
        every = server.get_list(path, includefield=f'{COUNT},{DESCRIPTION}')
        if address.series is not None:
            every = [s for s in every if _value(s, SERIES) == address.series]
        if not every:
            raise ServerError(
                f'{address}: the server has no such '
                f'{"series" if address.series else "examination"}; check the '
                'UIDs.'
            )
        kinds = Counter(str(_value(s, MODALITY)) for s in every)
        series = [
            _series(server, address, one)
            for one in every
            if _value(one, MODALITY) == 'CT'
        ]
    volumes = [one for one in series if one is not None]
    if not volumes:
        text = ', '.join(f'{n} of {kind[:16]}' for kind, n in kinds.items())
        raise ServerError(
            f'{address}: no CT series ({text}); give the address of a CT.'
        )
    return volumes


def _series(
    server: Server, address: Address, listed: dict[str, Any]
) -> RemoteSeries | None:
    """One series, with details read from its instances; None if it is not
    CT."""
    uid = _value(listed, SERIES)
    if not is_uid(uid):
        raise ServerError(
            f'{address}: the server lists a series without a UID; download '
            'the slices into a folder and give its path.'
        )
    count = _count(_value(listed, COUNT))
    path = f'/studies/{address.study}/series/{uid}/instances'
    fields = f'{SOP_CLASS},{THICKNESS},{FRAMES}'
    limit = {} if count is None else {'limit': '1'}
    instances = server.get_list(path, includefield=fields, **limit)
    if not instances:
        return None
    count = len(instances) if count is None else count
    first = instances[0]
    kind, one = _value(first, SOP_CLASS), _value(first, SOP_INSTANCE)
    if kind not in MULTIFRAME and THICKNESS not in first and is_uid(one):
        (first,) = server.get_list(f'{path}/{one}/metadata')[:1] or [first]
        kind = _value(first, SOP_CLASS)
    if kind not in (None, CT_CLASS, *MULTIFRAME):
        return None
    frames = _count(_value(first, FRAMES))
    return RemoteSeries(
        str(uid),
        count,
        frames if count == 1 and frames is not None else count,
        _thickness(_value(first, THICKNESS)),
        str(_value(listed, DESCRIPTION) or ''),
    )


def _value(values: dict[str, Any], tag: str) -> Any:
    """The first value of a tag; None if there is no text or number."""
    element = values.get(tag)
    several = element.get('Value') if isinstance(element, dict) else None
    first = several[0] if isinstance(several, list) and several else None
    return first if isinstance(first, str | int | float) else None


def _count(value: Any) -> int | None:
    """A whole number, None if it is none; older servers send it as text."""
    return None if isinstance(value, bool) else count_of(str(value))


def _thickness(value: Any) -> float:
    try:
        thickness = float(value)
    except (TypeError, ValueError):
        return math.inf
    return thickness if 0 < thickness < math.inf else math.inf


def fetch_series(
    address: Address,
    instances: int,
    folder: Path,
    *,
    patience: Patience = PATIENCE,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Download the slices of a series into a folder, under generated names.

    Args:
        address: Address of the series.
        instances: Number of files of the series; fewer are an error.
        folder: An empty folder.
        patience: Time limits and retries.
        stopped: Called often; returns whether to give up.

    Raises:
        ServerError: The response is missing, truncated or of another series,
            or it exceeds the limits on files, bytes or time.
        OSError: The disk is full.
    """
    if instances > MAX_FILES:
        raise ServerError(
            f'{address}: the server lists {instances} instances (limit '
            f'{MAX_FILES}); give a single series of a chest CT.'
        )
    with Server(address.root, patience, stopped) as server:
        server.patiently(lambda: _fetch(server, address, folder))
    _check(address, instances, folder)


def _fetch(server: Server, address: Address, folder: Path) -> None:
    for left in folder.iterdir():  # files of an earlier attempt
        left.unlink()
    path = f'/studies/{address.study}/series/{address.series}'
    with server.get_parts(path) as parts:
        for number, part in enumerate(parts):
            if number >= MAX_FILES:
                raise ServerError(
                    f'{address}: the server sent more than {MAX_FILES} '
                    'files; give a single series of a chest CT.'
                )
            with open(folder / f'{number:05d}.dcm', 'xb') as file:
                file.writelines(part)


def _check(address: Address, instances: int, folder: Path) -> None:
    """Check that every file belongs to the series, and none is missing."""
    uids = set()
    for number, path in enumerate(sorted(folder.iterdir()), start=1):
        try:
            header = read_tags(path, TAGS)
            series, uid = header.SeriesInstanceUID, header.SOPInstanceUID
        except (SeriesError, AttributeError) as error:
            raise ServerError(
                f'{address}: file {number} from the server is not a complete '
                'DICOM file; download the series into a folder and inspect it.'
            ) from error
        if series != address.series:
            raise ServerError(
                f'{address}: file {number} from the server belongs to another '
                'series; download the series into a folder and inspect it.'
            )
        uids.add(str(uid))
    if len(uids) < instances:
        raise ServerError(
            f'{address}: the server lists {instances} instances but sent '
            f'{len(uids)}; run the same command again when the series is '
            'complete.',
        )
