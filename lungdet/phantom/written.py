"""Which phantoms of a folder are complete and need not be written again."""

from __future__ import annotations

import json
import platform
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.atomic import write_text
from lungdet.io.case_json import annotation_from_json, annotation_to_json
from lungdet.io.digests import sha256_of
from lungdet.io.json_file import (
    DIGEST,
    digest_of,
    items,
    keyed,
    read_object,
    shape_checked,
    with_digest,
)
from lungdet.structures import Annotation

FOLDER = 'written'  # of the notes, beside the scans


@dataclass(frozen=True)
class WrittenPhantom:
    """What the tables say about a phantom whose files are written."""

    uid: str
    annotations: Sequence[Annotation]
    excluded: Sequence[Annotation]


def note_written(
    out: Path,
    phantom: WrittenPhantom,
    files: Sequence[Path],
    settings: dict[str, Any],
) -> None:
    """Note what was written, once it is complete.

    Args:
        out: Folder of the download.
        phantom: What the tables say about it.
        files: Its files.
        settings: What it depends on, besides the code.
    """
    content = {
        'settings': _all_settings(settings),
        'files': {str(p.relative_to(out)): sha256_of(p) for p in files},
        'annotations': [
            annotation_to_json(one) for one in phantom.annotations
        ],
        'excluded': [annotation_to_json(one) for one in phantom.excluded],
    }
    note = _note(out, phantom.uid)
    write_text(note, json.dumps(with_digest(content), indent=1))


def written_before(
    out: Path, uid: str, settings: dict[str, Any]
) -> WrittenPhantom | None:
    """A phantom that is complete and made with these settings and this code.

    Args:
        out: Folder of the download.
        uid: Series uid of the phantom.
        settings: As for ``note_written``.
    """
    try:
        content = read_object(_note(out, uid), 'It is written again.')
        with shape_checked(uid, 'it is written again.'):
            if content[DIGEST] != digest_of(content):
                return None
            if content['settings'] != _all_settings(settings):
                return None
            for name, digest in keyed(content['files']).items():
                if sha256_of(out / name) != digest:
                    return None
            annotations, excluded = (
                [annotation_from_json(one) for one in items(content[table])]
                for table in ('annotations', 'excluded')
            )
    except (SeriesError, OSError):
        return None
    return WrittenPhantom(uid, annotations, excluded)


def _note(out: Path, uid: str) -> Path:
    return out / FOLDER / f'{uid}.json'


def _all_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, and everything else that decides the voxels."""
    return {
        **settings,
        'code': _code_checksum(),
        'numpy': np.__version__,
        'machine': platform.machine(),
    }


@cache
def _code_checksum() -> int:
    """Checksum of the sources that render phantoms."""
    crc = 0
    for path in sorted(Path(__file__).parent.glob('*.py')):
        crc = zlib.crc32(path.read_bytes(), crc)
    return crc
